// ModelStepRunner: the StepRunner that runs a model and a sampler, each lane on a stream of its
// own.
//
//   Submit ──> stream.Launch: Forward(batch) -> logits -> Sample, LogProbs -> result, on_done
//
// It reads and writes KV blocks and the lane's workspace; both belong to memory, which must have
// them mapped from Submit until the step has completed.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "device/stream_host.h"
#include "engine/step_runner.h"
#include "engine/step_runner_factory.h"
#include "kernels/paged_kv.h"
#include "model/llama.h"
#include "model/sampler.h"

namespace ebb::engine {

// Each lane is used by one thread at a time. All pointers outlive the runner, and the runner
// outlives the work on its streams: the destructor waits for it.
class ModelStepRunner final : public StepRunner {
 public:
  ModelStepRunner(const model::LlamaModel* model, const base::Clock* clock,
                  const StepRunnerPlace& place);
  ~ModelStepRunner() override;
  ModelStepRunner(const ModelStepRunner&) = delete;
  ModelStepRunner& operator=(const ModelStepRunner&) = delete;

  void SetOnDone(std::function<void(Lane lane)> on_done) override;
  int64_t WorkspaceBytes(Lane lane, const StepShape& shape) const override;
  void Submit(Batch batch) override;
  std::optional<StepResult> TakeResult(Lane lane) override;
  // The step stops before its next layer.
  void Abandon(Lane lane) override;
  void WaitIdle() override;

 private:
  // What a lane's step is computed from; reused from step to step. Touched by the loop's thread
  // before Launch and by the stream's thread after it.
  struct LaneState {
    StepRunnerPlace::Workspace workspace;
    Batch batch;
    std::vector<int32_t> tokens;
    std::vector<int32_t> positions;
    std::vector<int32_t> sequence_of_row;
    std::vector<const int32_t*> tables;
    std::vector<int32_t> logits_rows;
    model::SamplerScratch scratch;
    std::atomic<bool> abandon = false;  // The step in flight is to stop.

    base::Mutex mutex;
    bool in_flight ABSL_GUARDED_BY(mutex) = false;
    std::optional<StepResult> result ABSL_GUARDED_BY(mutex);
    device::HostStream stream;  // Must be the last member: its work uses the others.
  };

  LaneState& StateOf(Lane lane) { return lane == Lane::kPrefill ? prefill_ : decode_; }
  static void LayOutRows(LaneState* state);
  StepResult RunStep(LaneState* state) const;
  SequenceResult ReadLogits(const SequenceRows& rows, const float** logits,
                            model::SamplerScratch* scratch) const;

  const model::LlamaModel* const model_;
  const base::Clock* const clock_;
  const kernels::PagedKv kv_;
  std::function<void(Lane)> on_done_;
  LaneState prefill_;
  LaneState decode_;
};

// Makes ModelStepRunners. All pointers outlive what it makes.
class ModelStepRunnerFactory final : public StepRunnerFactory {
 public:
  // `kv_dtype` is kF32, kF16 or kBF16.
  ModelStepRunnerFactory(const model::LlamaModel* model, const base::Clock* clock,
                         kernels::DType kv_dtype)
      : model_(model), clock_(clock), kv_dtype_(kv_dtype) {}

  const model::ModelConfig& config() const override { return model_->config(); }
  kernels::DType kv_dtype() const override { return kv_dtype_; }
  int64_t WorkspaceBytesMax(const LocalEngineOptions& options, Lane lane) const override;
  absl::StatusOr<std::unique_ptr<StepRunner>> Make(const LocalEngineOptions& options,
                                                   const StepRunnerPlace& place) const override;
  absl::StatusOr<std::unique_ptr<KvCopier>> MakeCopier(const LocalEngineOptions& options,
                                                       const kernels::PagedKv& kv) const override;

 private:
  const model::LlamaModel* const model_;
  const base::Clock* const clock_;
  const kernels::DType kv_dtype_;
};

}  // namespace ebb::engine
