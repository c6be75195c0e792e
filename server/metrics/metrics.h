// Metrics: everything that Prometheus is told of this server, put together at each scrape.
//
//   calls ──> RequestMetrics ──┐
//   RefusalLog's counts ───────┤
//   Engine's views ────────────┼──> Families ──> Render: the text
//   ProgressMonitor ───────────┘
//
// Names, types and labels are an interface: docs/metrics.md lists them, and a test compares the
// two. Labels come from closed sets.
#pragma once

#include <cstdint>
#include <string>

#include "engine/engine.h"
#include "server/metrics/families.h"
#include "server/metrics/request_metrics.h"
#include "server/progress_monitor.h"
#include "server/refusal_log.h"

namespace ebb::server {

struct MetricsOptions {
  std::string version;
  std::string config_hash;
  std::string model_name;
  std::string kernels;
  int64_t kv_bytes_per_token = 0;
  bool vllm_aliases = false;
};

// Thread-safe. Everything passed in outlives it.
class Metrics {
 public:
  static constexpr char kContentType[] = "text/plain; version=0.0.4; charset=utf-8";

  Metrics(MetricsOptions options, const engine::Engine* engine, const RequestMetrics* requests,
          const RefusalLog* refusals, const ProgressMonitor* progress);

  // A scrape. Never waits for a step.
  Families Collect() const;
  // The same in Prometheus' text format.
  std::string Render() const;

 private:
  const MetricsOptions options_;
  const engine::Engine* const engine_;
  const RequestMetrics* const requests_;
  const RefusalLog* const refusals_;
  const ProgressMonitor* const progress_;
  const double start_seconds_;
};

}  // namespace ebb::server
