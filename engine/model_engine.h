// ModelEngine: a LocalEngine for a llama-family model, with all that it stands on: KV memory,
// step runner and threads. What the server's main puts together.
//
//   ModelStepRunnerFactory (host) or CudaStepRunnerFactory ──> ModelEngine ──> Engine
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/log.h"
#include "device/stream_host.h"
#include "device/vmm.h"
#include "engine/engine_threads.h"
#include "engine/kv_copier.h"
#include "engine/kv_swapper.h"
#include "engine/local_engine.h"
#include "engine/options.h"
#include "engine/step_policy.h"
#include "engine/step_runner_factory.h"
#include "memory/kv_memory.h"
#include "memory/sharing.h"

namespace ebb::engine {

// Everything outlives the engine.
struct ModelEngineParts {
  const StepRunnerFactory* runners = nullptr;
  device::Vmm* vmm = nullptr;  // Of the memory that the runner works in.
  const base::Clock* clock = nullptr;
  base::Log* log = nullptr;
  const StepPolicy* policy = nullptr;
  memory::Sharing* sharing = nullptr;
  int32_t blocks_per_page = 0;   // 0: KvGeometry chooses. Small pages make small tests.
  std::vector<int32_t> end_ids;  // End of sequence, end of turn.
  std::string kv_identity;       // See EngineParts.
};

class ModelEngine {
 public:
  // Reserves addresses and starts the threads; takes no KV memory. INVALID_ARGUMENT for options out
  // of range or too small a limit; what the runner's factory answers.
  static absl::StatusOr<std::unique_ptr<ModelEngine>> Create(const LocalEngineOptions& options,
                                                             const ModelEngineParts& parts);
  // Ends what is unfinished, stops the threads and gives all memory back.
  ~ModelEngine();
  ModelEngine(const ModelEngine&) = delete;
  ModelEngine& operator=(const ModelEngine&) = delete;

  Engine* engine() { return engine_.get(); }

 private:
  explicit ModelEngine(base::Log* log) : log_(log) {}
  absl::Status OpenSwap(const LocalEngineOptions& options, const ModelEngineParts& parts);

  base::Log* const log_;
  // In order of construction; destroyed in reverse.
  std::unique_ptr<memory::KvMemory> memory_;
  std::unique_ptr<StepRunner> runner_;
  // None where nothing is swapped.
  std::unique_ptr<KvCopier> copier_;
  std::unique_ptr<device::HostStream> swap_stream_;
  std::unique_ptr<KvSwapper> swapper_;
  std::unique_ptr<LocalEngine> engine_;
  std::unique_ptr<EngineThreads> threads_;
};

}  // namespace ebb::engine
