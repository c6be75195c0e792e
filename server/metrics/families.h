// Families: the metrics of one scrape, in the order in which they are added.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "prometheus/client_metric.h"
#include "prometheus/metric_family.h"
#include "prometheus/metric_type.h"

namespace ebb::server {

// Thread-compatible. Samples of one name are added one after the other.
class Families {
 public:
  using Labels = std::vector<prometheus::ClientMetric::Label>;

  void Counter(absl::string_view name, absl::string_view help, double value, Labels labels = {}) {
    Add(name, help, prometheus::MetricType::Counter, std::move(labels)).counter.value = value;
  }
  void Gauge(absl::string_view name, absl::string_view help, double value, Labels labels = {}) {
    Add(name, help, prometheus::MetricType::Gauge, std::move(labels)).gauge.value = value;
  }
  void Histogram(absl::string_view name, absl::string_view help,
                 prometheus::ClientMetric::Histogram value, Labels labels = {}) {
    Add(name, help, prometheus::MetricType::Histogram, std::move(labels)).histogram =
        std::move(value);
  }

  const std::vector<prometheus::MetricFamily>& all() const { return families_; }
  std::vector<prometheus::MetricFamily>& all() { return families_; }

 private:
  prometheus::ClientMetric& Add(absl::string_view name, absl::string_view help,
                                prometheus::MetricType type, Labels labels) {
    if (families_.empty() || families_.back().name != name) {
      families_.push_back({std::string(name), std::string(help), type, {}});
    }
    prometheus::ClientMetric& sample = families_.back().metric.emplace_back();
    sample.label = std::move(labels);
    return sample;
  }

  std::vector<prometheus::MetricFamily> families_;
};

}  // namespace ebb::server
