// Percentiles by nearest rank: always a value that was measured.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "base/check.h"

namespace ebb::cli {

// The smallest value of `sorted` that at least `percent` of 100 of the values do not exceed.
// REQUIRES: `sorted` is ascending and not empty; 0 < percent <= 100.
inline double Percentile(const std::vector<double>& sorted, double percent) {
  CHECK(!sorted.empty() && percent > 0 && percent <= 100);
  const double rank = std::ceil(percent * static_cast<double>(sorted.size()) / 100);
  return sorted[std::clamp<size_t>(static_cast<size_t>(rank), 1, sorted.size()) - 1];
}

struct Distribution {
  size_t count = 0;  // 0: the rest means nothing.
  double mean = 0;
  double p50 = 0;
  double p90 = 0;
  double p99 = 0;
  double max = 0;
};

inline Distribution Distribute(std::vector<double> values) {
  Distribution out;
  out.count = values.size();
  if (values.empty()) return out;
  std::sort(values.begin(), values.end());
  for (double value : values) out.mean += value / static_cast<double>(values.size());
  out.p50 = Percentile(values, 50);
  out.p90 = Percentile(values, 90);
  out.p99 = Percentile(values, 99);
  out.max = values.back();
  return out;
}

}  // namespace ebb::cli
