// A lost device: after some failures no call on a device works again in this process. A status that
// says so carries a mark, whichever interface of device/ it came through.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace ebb::device {

// Whether no call on the device works again in this process. Statuses made from one that is, by
// adding to its text, keep the mark only when their payloads are copied.
bool IsDeviceLost(const absl::Status& status);

// UNAVAILABLE with the mark.
absl::Status DeviceLostError(absl::string_view message);

}  // namespace ebb::device
