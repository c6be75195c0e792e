// ModelStepRunner: the StepRunner that runs a model and a sampler, each lane on a stream of its
// own.
//
//   Submit ──> stream.Launch: Forward(batch) -> logits -> Sample, LogProbs -> result, on_done
//
// It reads and writes KV blocks and the lane's workspace; both belong to memory, which must have
// them mapped from Submit until the step has completed.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "device/stream.h"
#include "engine/step_runner.h"
#include "kernels/paged_kv.h"
#include "model/llama.h"
#include "model/sampler.h"

namespace ebb::engine {

// Where one lane computes.
struct LaneResources {
  device::Stream* stream = nullptr;
  // The lane's whole workspace range; a step uses its first WorkspaceBytes.
  uint8_t* workspace_base = nullptr;
  int64_t workspace_bytes = 0;
};

// Each lane is used by one thread at a time. All pointers outlive the runner, and the runner
// outlives the work on its streams: the destructor waits for it.
class ModelStepRunner final : public StepRunner {
 public:
  ModelStepRunner(const model::LlamaModel* model, const base::Clock* clock,
                  const kernels::PagedKv& kv, const LaneResources& prefill,
                  const LaneResources& decode);
  ~ModelStepRunner() override;
  ModelStepRunner(const ModelStepRunner&) = delete;
  ModelStepRunner& operator=(const ModelStepRunner&) = delete;

  void SetOnDone(std::function<void(Lane lane)> on_done) override;
  int64_t WorkspaceBytes(Lane lane, const StepShape& shape) const override;
  void Submit(Batch batch) override;
  std::optional<StepResult> TakeResult(Lane lane) override;

 private:
  // What a lane's step is computed from; reused from step to step. Touched by the loop's thread
  // before Launch and by the stream's thread after it.
  struct LaneState {
    LaneResources resources;
    Batch batch;
    std::vector<int32_t> tokens;
    std::vector<int32_t> positions;
    std::vector<int32_t> sequence_of_row;
    std::vector<const int32_t*> tables;
    std::vector<int32_t> logits_rows;
    model::SamplerScratch scratch;

    base::Mutex mutex;
    bool in_flight ABSL_GUARDED_BY(mutex) = false;
    std::optional<StepResult> result ABSL_GUARDED_BY(mutex);
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

}  // namespace ebb::engine
