// EngineStack: everything below the services, put together from the settings: the step policy, and
// the engine that runs the loaded model on what computes it; and the file of what it learns.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/server_config.h"
#include "engine/engine.h"
#include "engine/model_engine.h"
#include "engine/options.h"
#include "engine/step_runner_factory.h"
#include "memory/sharing.h"
#include "scheduler/local_policy.h"
#include "server/lengths_file.h"
#include "server/loaded_model.h"
#include "server/ticker.h"

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
  EngineStack(const EngineStack&) = delete;
  EngineStack& operator=(const EngineStack&) = delete;

  engine::Engine& engine() { return *engine_->engine(); }
  // Keeps what was learned of the lengths of answers, if that is set. At the end, once.
  void SaveLengths();

 private:
  explicit EngineStack(const scheduler::LocalPolicyOptions& options) : policy_(options) {}

  scheduler::LocalPolicy policy_;
  std::unique_ptr<memory::Sharing> sharing_;  // None where it is switched off.
  std::unique_ptr<engine::StepRunnerFactory> runners_;
  std::unique_ptr<LengthsFile> lengths_;         // None where none is set.
  std::unique_ptr<engine::ModelEngine> engine_;  // It uses those before it.
  std::unique_ptr<Ticker> saving_;               // Must be the last member: it uses the engine.
};

}  // namespace ebb::server
