#include "server/metrics/histogram.h"

#include <algorithm>
#include <cstddef>

#include "base/check.h"

namespace ebb::server {

Histogram::Histogram(absl::Span<const double> bounds)
    : bounds_(bounds.begin(), bounds.end()), counts_(bounds.size() + 1) {
  CHECK(std::is_sorted(bounds_.begin(), bounds_.end(), std::less_equal<double>()));
}

void Histogram::Observe(double value) {
  const auto bound = std::lower_bound(bounds_.begin(), bounds_.end(), value);
  counts_[static_cast<size_t>(bound - bounds_.begin())].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

prometheus::ClientMetric::Histogram Histogram::Collect() const {
  prometheus::ClientMetric::Histogram collected;
  uint64_t cumulative_count = 0;
  for (size_t i = 0; i < bounds_.size(); ++i) {
    cumulative_count += counts_[i].load(std::memory_order_relaxed);
    collected.bucket.push_back({cumulative_count, bounds_[i]});
  }
  collected.sample_count = cumulative_count + counts_.back().load(std::memory_order_relaxed);
  collected.sample_sum = sum_.load(std::memory_order_relaxed);
  return collected;
}

}  // namespace ebb::server
