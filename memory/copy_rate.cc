#include "memory/copy_rate.h"

#include "base/check.h"

namespace ebb::memory {
namespace {

constexpr double kPriorBytes = 1 << 20;
// A copy's weight after each later one.
constexpr double kDecay = 0.95;

}  // namespace

CopyRate::CopyRate(double prior_bytes_per_s)
    : bytes_(kPriorBytes), seconds_(kPriorBytes / prior_bytes_per_s) {
  CHECK(prior_bytes_per_s > 0);
}

absl::Duration CopyRate::Predict(int64_t bytes) const {
  return absl::Seconds(static_cast<double>(bytes) * seconds_ / bytes_);
}

void CopyRate::Observe(int64_t bytes, absl::Duration took) {
  if (bytes <= 0 || took <= absl::ZeroDuration() || took >= absl::Hours(1)) return;
  bytes_ = bytes_ * kDecay + static_cast<double>(bytes);
  seconds_ = seconds_ * kDecay + absl::ToDoubleSeconds(took);
}

}  // namespace ebb::memory
