#include "base/clock.h"

#include <chrono>

namespace ebb::base {
namespace {

absl::Duration Monotonic() {
  return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace

RealClock::RealClock() : wall_start_(absl::Now()), monotonic_start_(Monotonic()) {}

absl::Time RealClock::Now() const { return wall_start_ + (Monotonic() - monotonic_start_); }

}  // namespace ebb::base
