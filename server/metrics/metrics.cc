#include "server/metrics/metrics.h"

#include <utility>

#include "absl/status/status.h"
#include "prometheus/text_serializer.h"
#include "server/metrics/engine_metrics.h"
#include "server/metrics/process_metrics.h"
#include "server/metrics/vllm_aliases.h"

namespace ebb::server {
namespace {

void AddServer(const MetricsOptions& options, const ProgressMonitor& progress, Families* out) {
  const HealthReport health = progress.Check();
  for (const HealthState state : kHealthStates) {
    out->Gauge("ebb_health", "1 for the state that the server is in, 0 for the others.",
               state == health.state ? 1 : 0, {{"state", HealthStateName(state)}});
  }
  out->Gauge("ebb_build_info", "1; the version of the server.", 1, {{"version", options.version}});
  out->Gauge("ebb_config_info",
             "1; the hash of the settings, which the log line `ready` tells too.", 1,
             {{"hash", options.config_hash}});
  out->Gauge("ebb_model_info", "1; the model's name, and what computes it.", 1,
             {{"model", options.model_name}, {"kernels", options.kernels}});
}

void AddRefusals(const RefusalLog& refusals, Families* out) {
  const RefusalLog::Counts counts = refusals.counts();
  for (size_t code = 1; code < counts.size(); ++code) {
    out->Counter("ebb_requests_refused_total", "Requests that were turned away, by gRPC status.",
                 static_cast<double>(counts[code]),
                 {{"code", absl::StatusCodeToString(static_cast<absl::StatusCode>(code))}});
  }
}

}  // namespace

Metrics::Metrics(MetricsOptions options, const engine::Engine* engine,
                 const RequestMetrics* requests, const RefusalLog* refusals,
                 const ProgressMonitor* progress)
    : options_(std::move(options)),
      engine_(engine),
      requests_(requests),
      refusals_(refusals),
      progress_(progress),
      start_seconds_(ProcessStartSeconds()) {}

Families Metrics::Collect() const {
  const engine::LoadView load = engine_->Load();
  const engine::MemoryView memory = engine_->Memory();
  const int64_t block_bytes = memory.block_tokens * options_.kv_bytes_per_token;
  Families families;
  AddLoad(load, &families);
  requests_->Collect(&families);
  AddRefusals(*refusals_, &families);
  AddLengths(load.lengths, &families);
  AddLanes(load.lanes, &families);
  AddMemory(memory, &families);
  AddPrefixCache(memory.prefix_cache, &families);
  AddSwap(memory.swap, &families);
  AddWindows(engine_->RecentWindows(), load.lanes, block_bytes, &families);
  AddServer(options_, *progress_, &families);
  AddProcess(start_seconds_, &families);
  if (options_.vllm_aliases) {
    AddVllmAliases({options_.model_name, block_bytes}, memory, &families);
  }
  return families;
}

std::string Metrics::Render() const {
  return prometheus::TextSerializer().Serialize(Collect().all());
}

}  // namespace ebb::server
