// MemoryBudget: the one place where bytes are taken and given back, and the allocation condition.
//
// The condition of windowed memory: what is still missing fits into
//
//   min( limit - held by all,  free - headroom,  lease - held by all )
//
//   limit     what the operator allows this process
//   free      what the device can still give, by the keeper's last reading
//   headroom  what is left for others on the device
//   lease     what a ledger between processes allows this process to hold
#pragma once

#include <cstdint>
#include <limits>

#include "absl/strings/string_view.h"

namespace ebb::memory {

inline constexpr int64_t kUnboundedBytes = std::numeric_limits<int64_t>::max();

// Which term of the condition is the least.
enum class Bound { kLimit, kLease, kFree };
absl::string_view BoundName(Bound bound);  // "limit", "lease", "free"

// The condition's terms, as a value for planners.
struct GrowthBounds {
  int64_t limit_bytes = 0;
  int64_t held_bytes = 0;
  int64_t free_bytes = 0;
  int64_t headroom_bytes = 0;
  int64_t lease_bytes = kUnboundedBytes;  // Unbounded where processes share no ledger.

  // Bytes that may still be taken. Negative by what must be given back, when more is held than the
  // limit or the lease allows; a lack of free memory alone only stops growth.
  int64_t GrowableBytes() const;
  Bound TightestBound() const;
};

// Thread-compatible: guarded by the engine's mutex, owned by KvMemory.
class MemoryBudget {
 public:
  // REQUIRES: limit_bytes >= 0, headroom_bytes >= 0.
  MemoryBudget(int64_t limit_bytes, int64_t headroom_bytes);

  // Check and charge in one operation. False, and nothing is charged, where the condition fails.
  [[nodiscard]] bool TryHold(int64_t bytes);
  // REQUIRES: bytes <= held_bytes().
  void GiveBack(int64_t bytes);

  int64_t held_bytes() const { return bounds_.held_bytes; }
  int64_t limit_bytes() const { return bounds_.limit_bytes; }
  const GrowthBounds& bounds() const { return bounds_; }

  void SetLimit(int64_t bytes);
  void SetLease(int64_t bytes);
  // A fresh reading of the device. Between readings the figure follows TryHold and GiveBack.
  void SetFree(int64_t bytes);

 private:
  GrowthBounds bounds_;
};

}  // namespace ebb::memory
