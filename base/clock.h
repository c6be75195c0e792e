// Clock: the only way to learn the time. Opened in main and injected; tests drive a FakeClock.
#pragma once

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace ebb::base {

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  // Never goes backwards; its distance to wall time is fixed but unknown. For durations and
  // deadlines.
  virtual absl::Time Now() const = 0;
};

// The system's monotonic clock, laid over wall time as it was when the clock was made.
class RealClock final : public Clock {
 public:
  RealClock();
  absl::Time Now() const override;

 private:
  absl::Time wall_start_;
  absl::Duration monotonic_start_;
};

}  // namespace ebb::base
