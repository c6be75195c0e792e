// SampleHistory: the samples of the last while, as far as rates and the chart need them.
//
//   moments    x  x  x  x        x  x        a value holds until the next moment; none holds while
//   columns  |    |    |    |    |    |      the server is silent, nor over its restart
//
// Pure; not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "absl/time/time.h"
#include "cli/top/rates.h"
#include "cli/top/sample.h"

namespace ebb::cli {

// KV memory within one column of the chart.
struct MemoryColumn {
  bool known = false;
  // The greatest values in it; of the limit, the last.
  int64_t held_bytes = 0;
  int64_t needed_bytes = 0;
  int64_t limit_bytes = 0;
};

class SampleHistory {
 public:
  // Older ones are forgotten.
  static constexpr size_t kMomentsMax = 8192;

  // REQUIRES: not before the sample added last.
  void Add(const Sample& sample);

  // Over the last `span`, or since the sample before if that is longer; not over a time in which
  // the server was silent or began anew.
  Rates RatesOver(absl::Duration span) const;

  // `count` columns of `width` each, the last with the last sample. Their bounds are whole
  // multiples of the width, so that a column's past does not change as time goes on.
  // REQUIRES: count >= 0, width > 0.
  std::vector<MemoryColumn> Columns(int count, absl::Duration width) const;

 private:
  struct Moment {
    Counters counters;
    bool answered = false;
    MemoryColumn memory;
  };
  // Whether what `before` told still held when `after` was taken.
  static bool Holds(const Moment& before, const Moment& after);

  std::deque<Moment> moments_;
};

// The width for a chart of so many columns: the smallest handy one that is not below the interval
// between samples and makes the chart two minutes long. REQUIRES: columns > 0, interval > 0.
absl::Duration ColumnWidth(int columns, absl::Duration interval);

}  // namespace ebb::cli
