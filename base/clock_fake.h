// FakeClock: stands still until a test moves it.
#pragma once

#include "absl/time/time.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace ebb::base {

// Thread-safe.
class FakeClock final : public Clock {
 public:
  explicit FakeClock(absl::Time start = absl::FromUnixSeconds(1'000'000)) : now_(start) {}

  absl::Time Now() const override {
    MutexLock lock(&mutex_);
    return now_;
  }
  // REQUIRES: step >= 0.
  void Advance(absl::Duration step) {
    CHECK(step >= absl::ZeroDuration());
    MutexLock lock(&mutex_);
    now_ += step;
  }

 private:
  mutable Mutex mutex_;
  absl::Time now_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ebb::base
