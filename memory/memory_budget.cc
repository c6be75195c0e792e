#include "memory/memory_budget.h"

#include <algorithm>

#include "base/check.h"

namespace ebb::memory {

absl::string_view BoundName(Bound bound) {
  switch (bound) {
    case Bound::kLimit:
      return "limit";
    case Bound::kLease:
      return "lease";
    case Bound::kFree:
      return "free";
  }
  return "unknown";
}

int64_t GrowthBounds::GrowableBytes() const {
  const int64_t allowed = std::min(limit_bytes, lease_bytes) - held_bytes;
  return std::min(allowed, std::max<int64_t>(0, free_bytes - headroom_bytes));
}

Bound GrowthBounds::TightestBound() const {
  const int64_t growable = GrowableBytes();
  if (growable == limit_bytes - held_bytes) return Bound::kLimit;
  return growable == lease_bytes - held_bytes ? Bound::kLease : Bound::kFree;
}

MemoryBudget::MemoryBudget(int64_t limit_bytes, int64_t headroom_bytes) {
  CHECK_GE(headroom_bytes, 0);
  bounds_.headroom_bytes = headroom_bytes;
  SetLimit(limit_bytes);
}

bool MemoryBudget::TryHold(int64_t bytes) {
  CHECK_GE(bytes, 0);
  if (bytes > bounds_.GrowableBytes()) return false;
  bounds_.held_bytes += bytes;
  bounds_.free_bytes -= bytes;
  return true;
}

void MemoryBudget::GiveBack(int64_t bytes) {
  CHECK_GE(bytes, 0);
  CHECK_LE(bytes, bounds_.held_bytes);
  bounds_.held_bytes -= bytes;
  bounds_.free_bytes += bytes;
}

void MemoryBudget::SetLimit(int64_t bytes) {
  CHECK_GE(bytes, 0);
  bounds_.limit_bytes = bytes;
}

void MemoryBudget::SetLease(int64_t bytes) {
  CHECK_GE(bytes, 0);
  bounds_.lease_bytes = bytes;
}

void MemoryBudget::SetFree(int64_t bytes) {
  CHECK_GE(bytes, 0);
  bounds_.free_bytes = bytes;
}

}  // namespace ebb::memory
