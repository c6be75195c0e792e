// WindowTable: the last windows of each queue, the newest first. Pure.
#pragma once

#include <vector>

#include "cli/top/styled_line.h"
#include "proto/ebb.pb.h"

namespace ebb::cli {

// At most `lines_max` lines, the titles among them. Each queue has its share of them; what one does
// not need the others have. REQUIRES: lines_max >= 0.
std::vector<StyledLine> DrawWindowTable(const v1::GetWindowsResponse& windows, int width,
                                        int lines_max);

// "prefill"; "?" for one that we do not know.
std::string QueueText(v1::Window::Queue queue);
// "steady"
std::string ReasonText(v1::Window::Reason reason);

}  // namespace ebb::cli
