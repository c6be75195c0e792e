#include "memory/flip_meter.h"

#include <algorithm>

#include "base/check.h"

namespace ebb::memory {
namespace {

constexpr absl::Duration kSpan = absl::Minutes(1);

}  // namespace

void FlipMeter::Note(absl::Time now, int64_t unmapped_total, int64_t mapped_total) {
  CHECK(unmapped_total >= unmapped_total_ && mapped_total >= mapped_total_);
  int64_t mapped = mapped_total - mapped_total_;
  if (unmapped_total > unmapped_total_) {
    unmapped_.push_back({now, unmapped_total - unmapped_total_});
  }
  unmapped_total_ = unmapped_total;
  mapped_total_ = mapped_total;
  while (!unmapped_.empty() && unmapped_.front().when + kSpan <= now) unmapped_.pop_front();
  while (!flips_.empty() && flips_.front().when + kSpan <= now) flips_.pop_front();
  int64_t flips = 0;
  while (mapped > 0 && !unmapped_.empty()) {
    const int64_t pairs = std::min(mapped, unmapped_.front().count);
    mapped -= pairs;
    flips += pairs;
    unmapped_.front().count -= pairs;
    if (unmapped_.front().count == 0) unmapped_.pop_front();
  }
  if (flips > 0) flips_.push_back({now, flips});
  flips_total_ += flips;
}

int64_t FlipMeter::FlipsOfLastMinute(absl::Time now) const {
  int64_t count = 0;
  for (const Pages& flips : flips_) {
    if (now < flips.when + kSpan) count += flips.count;
  }
  return count;
}

}  // namespace ebb::memory
