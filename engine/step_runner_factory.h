// StepRunnerFactory: what a ModelEngine needs to know of a model and its device, and the maker of
// the step runner, once there are addresses to run in.
//
// Forms: ModelStepRunnerFactory (the host), CudaStepRunnerFactory (a CUDA device).
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "engine/kv_copier.h"
#include "engine/options.h"
#include "engine/step_runner.h"
#include "kernels/dtype.h"
#include "kernels/paged_kv.h"
#include "model/model_config.h"

namespace ebb::engine {

// The addresses that a step runner works in. They are mapped as windows need them.
struct StepRunnerPlace {
  // A lane's whole workspace range; a step uses its first WorkspaceBytes.
  struct Workspace {
    uint8_t* base = nullptr;
    int64_t bytes = 0;
  };
  kernels::PagedKv kv;
  Workspace prefill;  // Empty where the engine has no such lane.
  Workspace decode;
};

// Immutable, so thread-safe. `options` are those of the engine, memory.block_tokens filled in.
class StepRunnerFactory {
 public:
  virtual ~StepRunnerFactory() = default;

  virtual const model::ModelConfig& config() const = 0;
  // The format of keys and values.
  virtual kernels::DType kv_dtype() const = 0;
  // StepRunner::WorkspaceBytes of the lane's largest step.
  virtual int64_t WorkspaceBytesMax(const LocalEngineOptions& options, Lane lane) const = 0;
  // Nothing of `place` need be mapped yet.
  virtual absl::StatusOr<std::unique_ptr<StepRunner>> Make(const LocalEngineOptions& options,
                                                           const StepRunnerPlace& place) const = 0;
  // What swaps keys and values out of such a place. What the system says when it cannot.
  virtual absl::StatusOr<std::unique_ptr<KvCopier>> MakeCopier(
      const LocalEngineOptions& options, const kernels::PagedKv& kv) const = 0;
};

}  // namespace ebb::engine
