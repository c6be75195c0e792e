// Histogram: counts observations in classes, without a lock, for the engine's threads observe here.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "prometheus/client_metric.h"

namespace ebb::server {

// Thread-safe. What is collected while somebody observes may count an observation whose value is
// not yet in the sum; the next one has both.
class Histogram {
 public:
  // The classes' upper bounds, each included in its class; what is larger than all of them has a
  // class of its own. REQUIRES: they rise.
  explicit Histogram(absl::Span<const double> bounds);
  Histogram(const Histogram&) = delete;
  Histogram& operator=(const Histogram&) = delete;

  void Observe(double value);
  prometheus::ClientMetric::Histogram Collect() const;

 private:
  const std::vector<double> bounds_;
  std::vector<std::atomic<uint64_t>> counts_;  // One more than bounds.
  std::atomic<double> sum_ = 0;
};

}  // namespace ebb::server
