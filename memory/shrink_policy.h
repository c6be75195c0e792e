// ShrinkPolicy: when mapped pages that nobody needs are given back. Pure: it is told the time.
//
//   demand   5 5 2 2 2 2 2         grow at once; shrink to the largest demand of the last K windows
//   keep     5 5 5 5 2 2 2         plus slack, once there has been too much for a while,
//   mapped   5 5 5 5 5 5 3 2       at most N pages at a time
#pragma once

#include <cstdint>
#include <deque>

#include "absl/time/time.h"

namespace ebb::memory {

struct ShrinkSettings {
  int32_t windows_kept = 8;  // K, at least 1.
  int64_t slack_pages = 0;
  absl::Duration after = absl::Seconds(1);
  int64_t pages_at_once = 4;  // N, at least 1.
};

// Thread-compatible.
class ShrinkPolicy {
 public:
  explicit ShrinkPolicy(const ShrinkSettings& settings);

  // A window opened that wants so many pages of all queues together.
  void RecordDemand(int64_t pages);
  // Forgets the past windows: nothing executes any more. What is too much from now on is given up
  // `after` from now.
  void Forget() {
    demands_.clear();
    excess_since_ = absl::InfiniteFuture();
  }

  // The largest recorded demand plus slack; 0 when none is recorded.
  int64_t keep_pages() const;
  // Pages to give up now. `mapped`: usable now; `wanted`: needed whatever was recorded;
  // `draining`: already on the way out, the next ones wait for them.
  int64_t PagesToShrink(absl::Time now, int64_t mapped, int64_t wanted, int64_t draining);
  // When PagesToShrink could give another answer by time alone.
  absl::Time next_change() const { return next_change_; }

 private:
  const ShrinkSettings settings_;
  std::deque<int64_t> demands_;
  absl::Time excess_since_ = absl::InfiniteFuture();
  absl::Time next_change_ = absl::InfiniteFuture();
};

}  // namespace ebb::memory
