// Frame: everything that ebb top shows at one moment, laid out for a terminal of this size.
//
//   model  state  uptime                                     address
//   figures, in groups
//   [████████░░░░                        ] held of the limit
//
//   the chart of memory
//
//   the windows
//
// Pure: values in, lines out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "cli/top/rates.h"
#include "cli/top/sample.h"
#include "cli/top/sample_history.h"
#include "cli/top/styled_line.h"

namespace ebb::cli {

struct FrameInput {
  std::string address;
  Sample sample;  // The last that was answered.
  Rates rates;
  // Nobody has answered for so long, and why.
  std::optional<absl::Duration> silent_for;
  std::string error;
  absl::Duration interval;  // Between samples.
  const SampleHistory* history = nullptr;
  bool color = false;
};

// At most `height` lines of at most `width` columns. What does not fit is left out from the bottom.
// REQUIRES: width > 0, height > 0.
std::vector<StyledLine> DrawFrame(const FrameInput& input, int width, int height);

}  // namespace ebb::cli
