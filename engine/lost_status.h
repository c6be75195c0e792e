// The status that Engine::Health and every request have once the device is lost. Its message holds
// what the device said, for the log; what clients are told, the server decides.
#pragma once

#include "absl/status/status.h"
#include "device/device_lost.h"

namespace ebb::engine {

inline bool IsDeviceLost(const absl::Status& status) { return device::IsDeviceLost(status); }

}  // namespace ebb::engine
