#include "server/metrics/metrics.h"

#include <utility>

#include "absl/status/status.h"
#include "prometheus/text_serializer.h"
#include "server/metrics/engine_metrics.h"
#include "server/metrics/vllm_aliases.h"

namespace ebb::server {
namespace {

void AddServer(const MetricsOptions& options, const ProgressMonitor& progress, Families* out) {
  const HealthReport health = progress.Check();
  out->Gauge("ebb_ready", "1 while new requests should be sent here.", health.ready() ? 1 : 0);
  out->Gauge("ebb_draining", "1 from the moment that the server is told to end.",
             progress.draining() ? 1 : 0);
  out->Gauge("ebb_stalled", "1 while requests run and no step has completed for server.stall_ms.",
             health.state == HealthState::kStalled ? 1 : 0);
  out->Info("ebb_build_info", "Which server this is.", {{"version", options.version}});
  out->Info("ebb_config_info", "Which settings it has; `ready` lines tell the same hash.",
            {{"hash", options.config_hash}});
  out->Info("ebb_model_info", "What is served, and with which kernels.",
            {{"model", options.model_name}, {"kernels", options.kernels}});
  out->Gauge("process_start_time_seconds", "When the process started, since the Unix epoch.",
             absl::ToDoubleSeconds(options.process_start - absl::UnixEpoch()));
}

void AddRefusals(const RefusalLog& refusals, Families* out) {
  const RefusalLog::Counts counts = refusals.counts();
  for (size_t code = 1; code < counts.size(); ++code) {
    out->Counter("ebb_requests_refused_total", "Requests that were turned away.",
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
      progress_(progress) {}

Families Metrics::Collect() const {
  const engine::LoadView load = engine_->Load();
  const engine::MemoryView memory = engine_->Memory();
  const int64_t block_bytes = memory.block_tokens * options_.kv_bytes_per_token;
  Families families;
  AddLoad(load, &families);
  requests_->Collect(&families);
  AddRefusals(*refusals_, &families);
  AddLanes(load.lanes, &families);
  AddMemory(memory, &families);
  if (options_.floor_bytes.has_value()) {
    families.Gauge("ebb_memory_floor_bytes", "What other servers always leave to this one.",
                   static_cast<double>(*options_.floor_bytes));
  }
  AddWindows(engine_->RecentWindows(), load.lanes, block_bytes, &families);
  AddServer(options_, *progress_, &families);
  if (options_.vllm_aliases) {
    AddVllmAliases({options_.model_name, block_bytes}, memory, &families);
  }
  return families;
}

std::string Metrics::Render() const {
  return prometheus::TextSerializer().Serialize(Collect().all());
}

}  // namespace ebb::server
