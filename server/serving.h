// Serving: the services of one engine behind two ports, gRPC's and HTTP's, and Control behind a
// third where it has one; and how they end.
//
//   Start ──> ready ──(DrainSwitch)──> not ready; after the delay draining: no new requests,
//                         ^            running ones finish
//             lost device ┘              └──> every answer is sent, or its reader too slow ──> end
//
// A thread asks the engine how it gets on, another tells gRPC's health: see progress_monitor.h.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mutex.h"
#include "config/server_config.h"
#include "engine/engine.h"
#include "server/access.h"
#include "server/call_pump.h"
#include "server/control_service.h"
#include "server/drain.h"
#include "server/grpc_server.h"
#include "server/http/http_api.h"
#include "server/http/http_server.h"
#include "server/inference_service.h"
#include "server/kserve/kserve_service.h"
#include "server/live_calls.h"
#include "server/loaded_model.h"
#include "server/metrics/metrics.h"
#include "server/metrics/request_metrics.h"
#include "server/progress_monitor.h"
#include "server/quotas.h"
#include "server/refusal_log.h"
#include "server/request_reader.h"
#include "server/stats_log.h"
#include "server/ticker.h"
#include "server/tls_files.h"
#include "server/vllm/vllm_service.h"

namespace ebb::server {

// What stands between the ports and those who reach them. Null: nothing of that kind.
struct Guards {
  AccessGate* users = nullptr;
  AccessGate* operators = nullptr;  // See ControlGate.
  TlsFiles* tls = nullptr;          // Null: nothing is encrypted.
};

class Serving {
 public:
  // Listens and serves. UNAVAILABLE when it cannot listen. Everything passed in outlives it.
  static absl::StatusOr<std::unique_ptr<Serving>> Start(const config::ServerConfig& config,
                                                        const LoadedModel& model,
                                                        engine::Engine* engine, DrainSwitch* drain,
                                                        const base::Clock* clock, base::Log* log,
                                                        const Guards& guards = {});

  const ListenAddress& address() const { return server_->address(); }
  // Where Control is served.
  const ListenAddress& control_address() const;
  // "127.0.0.1:8000". Empty where HTTP is off.
  std::string http_address() const;

  // Waits for the switch, then drains and shuts down. A lost device throws the switch, with no
  // grace: Engine::Health says so afterwards. Called once.
  void RunUntilDrained();

 private:
  Serving(const config::ServerConfig& config, const LoadedModel& model, engine::Engine* engine,
          DrainSwitch* drain, const base::Clock* clock, base::Log* log, const Guards& guards);
  ControlOptions MakeControlOptions(const config::ServerConfig& config, const LoadedModel& model);
  static VllmOptions MakeVllmOptions(const config::ServerConfig& config, const LoadedModel& model);
  static MetricsOptions MakeMetricsOptions(const config::ServerConfig& config,
                                           const LoadedModel& model);
  absl::Status StartGrpc(const config::ServerConfig& config);
  absl::Status StartHttp(const config::ServerConfig& config);
  void StartWatching(const config::ServerConfig& config);
  // Tells gRPC's health and the log what is new.
  void TellHealth();
  // Not ready from the request on; returns after its delay, with the grace to give.
  absl::Duration WaitForDrain();
  void WarnBeyondLoopback(const ListenAddress& address, bool asks_tokens);

  engine::Engine* const engine_;
  DrainSwitch* const drain_;
  const base::Clock* const clock_;
  base::Log* const log_;
  const Guards guards_;
  ProgressMonitor progress_;
  RequestReader reader_;
  LiveCalls live_calls_;
  RefusalLog refusals_;
  RequestMetrics request_metrics_;
  Quotas quotas_;
  const Metrics metrics_;
  CallPump pump_;
  CallResources resources_;
  InferenceService inference_;
  ControlService control_;
  VllmService vllm_;
  KserveService kserve_;
  HttpApi http_api_;
  // Last: they are the first to go.
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<GrpcServer> control_server_;  // None where Control has no address of its own.
  std::unique_ptr<HttpServer> http_server_;     // None where HTTP is off.
  base::Mutex told_mutex_;
  HealthState told_state_ ABSL_GUARDED_BY(told_mutex_) = HealthState::kReady;
  std::unique_ptr<StatsLog> stats_log_;  // None where it is off.
  std::unique_ptr<Ticker> asking_;
  std::unique_ptr<Ticker> telling_;
};

}  // namespace ebb::server
