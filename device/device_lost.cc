#include "device/device_lost.h"

#include "absl/strings/cord.h"

namespace ebb::device {
namespace {

constexpr absl::string_view kLostMark = "ebb/device-lost";

}  // namespace

bool IsDeviceLost(const absl::Status& status) { return status.GetPayload(kLostMark).has_value(); }

absl::Status DeviceLostError(absl::string_view message) {
  absl::Status status = absl::UnavailableError(message);
  status.SetPayload(kLostMark, absl::Cord("1"));
  return status;
}

}  // namespace ebb::device
