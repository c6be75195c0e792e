// CudaStepRunner: the StepRunner of a CUDA device: a stream for each lane, decode's of high
// priority.
//
//   Submit ─ PackStep ─> pinned block ─copy─> workspace ─> graph of the bucket   (decode)
//                                                      └─> pass, launched one by one (else)
//                                      where rows have penalties or biases: a second pass over them
//            results <─ pinned block <─copy── sampled tokens <──┘
//                └─ on the stream's waiter thread: TakeResult has it, on_done
//
// A decode step without prompts is padded to a bucket of rows, and each bucket has a graph,
// captured when the runner is made. A graph reads everything that varies from its lane's workspace,
// whose addresses never change; so does the KV pool's, so graphs outlive its growth and shrinking.
//
// Hand-over. Decode reads keys and values that prefill wrote on another stream. No event orders the
// two on the device, because the engine does: it takes a prefill step's result, which there is only
// once that step's event has completed, before it stages a decode step of the same sequence.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "device/cuda/cuda_device.h"
#include "device/cuda/cuda_stream.h"
#include "device/launch_gate.h"
#include "engine/cuda_step_adjust.h"
#include "engine/cuda_step_layout.h"
#include "engine/cuda_step_pack.h"
#include "engine/step_runner.h"
#include "engine/step_runner_factory.h"
#include "model/llama_cuda.h"

namespace ebb::engine {

// Each lane is used by one thread at a time. All pointers outlive the runner, and the runner
// outlives the work on its streams: the destructor waits for it.
//
// When a step cannot be launched, or fails on the device, its result has the status; once the
// device is lost, device_lost is set too, in this step's result and in every later one's.
class CudaStepRunner final : public StepRunner {
 public:
  struct Parts {
    const model::CudaLlama* model = nullptr;
    const base::Clock* clock = nullptr;
    device::LaunchGate* gate = nullptr;  // Each step passes it, from launch to completion; or null.
  };

  // Makes streams, pinned memory for the largest steps, and the graphs: needs the device's memory
  // for a while, and takes a pass for each bucket. Nothing of `place` need be mapped. There is no
  // prefill lane where `largest_prefill` has no rows.
  static absl::StatusOr<std::unique_ptr<CudaStepRunner>> Create(const Parts& parts,
                                                                const CudaStepOptions& options,
                                                                const StepRunnerPlace& place,
                                                                const StepShape& largest_prefill,
                                                                const StepShape& largest_decode);
  ~CudaStepRunner() override;
  CudaStepRunner(const CudaStepRunner&) = delete;
  CudaStepRunner& operator=(const CudaStepRunner&) = delete;

  void SetOnDone(std::function<void(Lane lane)> on_done) override;
  int64_t WorkspaceBytes(Lane lane, const StepShape& shape) const override;
  // Waits while the gate is closed.
  void Submit(Batch batch) override;
  std::optional<StepResult> TakeResult(Lane lane) override;
  void WaitIdle() override;

  const CudaStepPlanner& planner() const { return planner_; }

 private:
  // Touched by the loop's thread before Launch returns and by the waiter thread after the work has
  // completed.
  struct LaneState {
    explicit LaneState(device::CudaDevice* device) : adjust(device) {}

    StepRunnerPlace::Workspace workspace;
    device::CudaHostBuffer staging;
    device::CudaHostBuffer sampled;  // EbbCudaSampled for each logits row of the largest step.
    Batch batch;
    PackScratch scratch;
    PackedStep packed;
    CudaStepAdjust adjust;
    absl::Time started;
    absl::Status launched;
    std::vector<device::CudaGraph> graphs;  // Decode's, by the place in planner().buckets().

    base::Mutex mutex;
    bool in_flight ABSL_GUARDED_BY(mutex) = false;
    std::optional<StepResult> result ABSL_GUARDED_BY(mutex);
    // Must be the last member: its work and its waiter thread use the others.
    std::unique_ptr<device::CudaStream> stream;
  };

  CudaStepRunner(const Parts& parts, const CudaStepOptions& options, const StepRunnerPlace& place);
  absl::Status OpenLane(Lane lane, const StepShape& largest);
  absl::Status CaptureGraphs();
  absl::Status WarmUp();
  void PackAdjusted(LaneState* state);
  absl::Status QueueStep(Lane lane);
  absl::Status QueueCopies(const Batch& batch, EbbCudaStream* stream) const;
  absl::Status QueuePass(Lane lane, const CudaStepLayout& layout, bool in_bucket,
                         int32_t tile_count, uint8_t* base) const;
  model::CudaPassShape PassShapeOf(const CudaStepLayout& layout) const;
  // The logits that such a pass leaves in the workspace, and the choice of tokens from them.
  float* LogitsIn(const CudaStepLayout& layout, uint8_t* base) const;
  EbbCudaSample SampleOf(const CudaStepLayout& layout, uint8_t* base) const;
  void Complete(Lane lane);
  LaneState& StateOf(Lane lane) { return lane == Lane::kPrefill ? prefill_ : decode_; }
  const LaneState& StateOf(Lane lane) const { return lane == Lane::kPrefill ? prefill_ : decode_; }
  absl::Status Check(int32_t code, absl::string_view what) const {
    return device_->Check(code, what);
  }

  const Parts parts_;
  device::CudaDevice* const device_;
  const CudaStepPlanner planner_;
  const kernels::PagedKv layout_;
  const EbbCudaKv kv_;
  std::function<void(Lane)> on_done_;
  LaneState prefill_;
  LaneState decode_;
};

// Makes CudaStepRunners. All pointers outlive what it makes.
class CudaStepRunnerFactory final : public StepRunnerFactory {
 public:
  struct Options {
    bool batch_invariant = false;  // As in CudaStepOptions; these three.
    int32_t prefill_sm_target = 0;
    int32_t banned_ids_max = 256;
  };
  CudaStepRunnerFactory(const CudaStepRunner::Parts& parts, const Options& options)
      : parts_(parts), options_(options) {}

  const model::ModelConfig& config() const override { return parts_.model->config(); }
  kernels::DType kv_dtype() const override { return kernels::DType::kBF16; }
  int64_t WorkspaceBytesMax(const LocalEngineOptions& options, Lane lane) const override;
  // INVALID_ARGUMENT for blocks that the kernels do not serve; CudaStepRunner::Create's answers.
  absl::StatusOr<std::unique_ptr<StepRunner>> Make(const LocalEngineOptions& options,
                                                   const StepRunnerPlace& place) const override;
  absl::StatusOr<std::unique_ptr<KvCopier>> MakeCopier(const LocalEngineOptions& options,
                                                       const kernels::PagedKv& kv) const override;

 private:
  CudaStepOptions StepOptionsOf(const LocalEngineOptions& options) const;

  const CudaStepRunner::Parts parts_;
  const Options options_;
};

}  // namespace ebb::engine
