// CopyRate: seconds that a copy of so many bytes takes, learned from the copies that ran.
//
//   seconds = bytes * (sum of seconds / sum of bytes), each copy counting less with every later one
#pragma once

#include <cstdint>

#include "absl/time/time.h"

namespace ebb::memory {

// Thread-compatible: guarded by the engine's mutex. One for each direction.
class CopyRate {
 public:
  // Before anything is known. Rough is fine: a few copies outweigh it. REQUIRES: above 0.
  explicit CopyRate(double prior_bytes_per_s);

  // Never negative, finite.
  absl::Duration Predict(int64_t bytes) const;
  // A copy took `took`. Ignored unless bytes > 0 and 0 < took < 1 h.
  void Observe(int64_t bytes, absl::Duration took);
  double bytes_per_s() const { return bytes_ / seconds_; }

 private:
  double bytes_;
  double seconds_;
};

}  // namespace ebb::memory
