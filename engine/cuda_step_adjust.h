// The second pass of a CUDA step, over rows of logits that biases and penalties change. There is
// none in a step that has no such row.
//
//   the step: logits ─> tokens of the other rows, sums for log-probabilities ─> host
//   then:     logits ─adjust_logits─> logits ─sample─> tokens of these rows ──> host
//
// It is queued behind the step and not part of a graph: its size is that of the histories in it, so
// it has no fixed place in the workspace. What it reads lies in pinned host memory that grows to
// twice what the largest step so far needed: 20 bytes for each id that a sequence in it has
// adjusted. The choice of tokens goes through the workspace's places for that, which the step has
// left.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "device/cuda/cuda_device.h"
#include "engine/cuda_step_pack.h"
#include "engine/step_runner.h"

namespace ebb::engine {

// One lane's. Thread-compatible; what is queued reads and writes its memory until the step has
// completed.
class CudaStepAdjust {
 public:
  explicit CudaStepAdjust(device::CudaDevice* device) : device_(device) {}

  // Lays out the pass that the packed step needs. Not OK when there is no memory for it: then it is
  // not to be queued. REQUIRES: nothing queued is unfinished.
  absl::Status Pack(const Batch& batch, const PackedStep& packed);
  // Behind the step, which lies in the workspace at `base`. `sample` is its own choice of tokens,
  // from `logits`.
  absl::Status Queue(EbbCudaStream* stream, const PackedStep& packed, uint8_t* base, float* logits,
                     const EbbCudaSample& sample) const;
  // Completes the results of adjusted rows. `sampled`: what the step itself gave.
  void Read(const Batch& batch, const PackedStep& packed, const EbbCudaSampled* sampled,
            std::vector<SequenceResult>* results) const;

 private:
  // Bytes from the memory's begin.
  struct Layout {
    int64_t rows = 0;         // EbbCudaAdjustedRow [adjusted rows]
    int64_t sampling = 0;     // EbbCudaSampling [logits rows]
    int64_t sampled = 0;      // EbbCudaSampled [logits rows]
    int64_t adjustments = 0;  // EbbCudaLogitAdjustment [all of them]
    int64_t before = 0;       // float [all of them]
  };

  absl::Status LayOut(int64_t adjusted_rows, int64_t logits_rows, int64_t adjustments);
  template <typename T>
  T* At(int64_t offset) const {
    return reinterpret_cast<T*>(memory_.data() + offset);
  }

  device::CudaDevice* const device_;
  device::CudaHostBuffer memory_;
  Layout layout_;
  int32_t count_max_ = 0;  // Adjustments of a row.
};

}  // namespace ebb::engine
