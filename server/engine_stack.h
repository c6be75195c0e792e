// EngineStack: everything below the services, put together: the device's memory and streams, the
// model on them, the step policy, the engine and its threads.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/server_config.h"
#include "device/stream_host.h"
#include "device/vmm_host.h"
#include "engine/engine_threads.h"
#include "engine/local_engine.h"
#include "engine/model_step_runner.h"
#include "engine/options.h"
#include "memory/kv_memory.h"
#include "scheduler/local_policy.h"
#include "server/loaded_model.h"

namespace ebb::server {

// The engine's options as the settings give them.
engine::LocalEngineOptions EngineOptions(const config::ServerConfig& config);

// Thread-compatible; the engine inside is thread-safe.
class EngineStack {
 public:
  // INVALID_ARGUMENT when settings and model do not go together, for example a memory limit without
  // room for a page; RESOURCE_EXHAUSTED when the system refuses addresses. Everything passed in
  // outlives it. No KV memory is taken before the first request.
  static absl::StatusOr<std::unique_ptr<EngineStack>> Create(const config::ServerConfig& config,
                                                             const LoadedModel& model,
                                                             const base::Clock* clock,
                                                             base::Log* log);
  // Ends what is left without grace, then gives all memory back.
  ~EngineStack();
  EngineStack(const EngineStack&) = delete;
  EngineStack& operator=(const EngineStack&) = delete;

  engine::Engine& engine() { return *engine_; }

 private:
  EngineStack(const engine::LocalEngineOptions& options, base::Log* log);

  base::Log* const log_;
  device::HostVmm vmm_;
  std::unique_ptr<memory::KvMemory> memory_;
  device::HostStream prefill_stream_;
  device::HostStream decode_stream_;
  scheduler::LocalPolicy policy_;
  std::unique_ptr<engine::ModelStepRunner> runner_;
  std::unique_ptr<engine::LocalEngine> engine_;
  std::unique_ptr<engine::EngineThreads> threads_;
};

}  // namespace ebb::server
