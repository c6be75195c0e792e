#include "memory/shrink_policy.h"

#include <algorithm>

#include "base/check.h"

namespace ebb::memory {

ShrinkPolicy::ShrinkPolicy(const ShrinkSettings& settings) : settings_(settings) {
  CHECK_GE(settings_.windows_kept, 1);
  CHECK_GE(settings_.slack_pages, 0);
  CHECK_GE(settings_.pages_at_once, 1);
}

void ShrinkPolicy::RecordDemand(int64_t pages) {
  demands_.push_back(pages);
  if (static_cast<int32_t>(demands_.size()) > settings_.windows_kept) demands_.pop_front();
}

int64_t ShrinkPolicy::keep_pages() const {
  if (demands_.empty()) return 0;
  return *std::max_element(demands_.begin(), demands_.end()) + settings_.slack_pages;
}

int64_t ShrinkPolicy::PagesToShrink(absl::Time now, int64_t mapped, int64_t wanted,
                                    int64_t draining) {
  const int64_t excess = mapped - std::max(keep_pages(), wanted);
  next_change_ = absl::InfiniteFuture();
  if (excess <= 0) {
    excess_since_ = absl::InfiniteFuture();
    return 0;
  }
  if (excess_since_ == absl::InfiniteFuture()) excess_since_ = now;
  if (now < excess_since_ + settings_.after) {
    next_change_ = excess_since_ + settings_.after;
    return 0;
  }
  if (draining > 0) return 0;
  return std::min(excess, settings_.pages_at_once);
}

}  // namespace ebb::memory
