// FlipMeter: how often memory is given back only to be taken again. Pure: it is told the time.
//
//   unmapped   2 pages            a flip: a page is mapped within a minute after one was unmapped.
//   mapped        + 3 pages       Each unmapped page counts once, so these are two flips.
#pragma once

#include <cstdint>
#include <deque>

#include "absl/time/time.h"

namespace ebb::memory {

// Thread-compatible.
class FlipMeter {
 public:
  // The pool's totals since the start. Call it now and then; what came together is taken to have
  // been unmapped before it was mapped. REQUIRES: now and the totals never fall.
  void Note(absl::Time now, int64_t unmapped_total, int64_t mapped_total);

  int64_t flips_total() const { return flips_total_; }
  // In the minute before `now`.
  int64_t FlipsOfLastMinute(absl::Time now) const;

 private:
  struct Pages {
    absl::Time when;
    int64_t count = 0;
  };

  int64_t unmapped_total_ = 0;
  int64_t mapped_total_ = 0;
  int64_t flips_total_ = 0;
  std::deque<Pages> unmapped_;  // Not yet mapped again, oldest first.
  std::deque<Pages> flips_;     // Oldest first.
};

}  // namespace ebb::memory
