// Biases and penalties: sparse changes to rows of logits, in place.
//
// Floor: latency. The adjustments come over the bus, 16 bytes each and 4 back, at 20 GB/s or more:
// 1 us for a thousand of them beside some 3 us for the launch and the first of them to arrive.
#include "kernels/cuda/op_check.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/prelude.cuh"

namespace ebb::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int32_t kRowsMax = 65535;  // A grid's second dimension.

// Each operation is rounded, as on the host: nothing may become a fused multiply-add.
__device__ __forceinline__ float Adjusted(float logit, const EbbCudaLogitAdjustment& by) {
  float x = __fadd_rn(logit, by.bias);
  x = x > 0 ? __fdiv_rn(x, by.repetition) : __fmul_rn(x, by.repetition);
  return __fsub_rn(x, by.penalty);
}

__device__ __forceinline__ EbbCudaLogitAdjustment Load(const EbbCudaLogitAdjustment* from) {
  const uint4 bits = *reinterpret_cast<const uint4*>(from);
  return {static_cast<int32_t>(bits.x), __uint_as_float(bits.y), __uint_as_float(bits.z),
          __uint_as_float(bits.w)};
}

__global__ void EBB_LAUNCH_BOUNDS(kThreads, 1) AdjustLogitsKernel(EbbCudaAdjustLogits p) {
  LetLaterWorkStart();
  AwaitEarlierWork();
  const EbbCudaAdjustedRow row = p.rows[blockIdx.y];
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= row.count) return;
  const EbbCudaLogitAdjustment by = Load(p.adjustments + row.begin + i);
  if (by.token_id < 0 || by.token_id >= p.vocabulary) return;
  float* const logit = p.logits + static_cast<int64_t>(row.row) * p.vocabulary + by.token_id;
  const float before = *logit;
  p.before[row.begin + i] = before;
  *logit = Adjusted(before, by);
}

}  // namespace

int32_t LaunchAdjustLogits(EbbCudaStream* stream, const EbbCudaAdjustLogits* op) {
  static_assert(sizeof(EbbCudaLogitAdjustment) == 16);
  if (op == nullptr) return Invalid("adjust_logits", kNeedsPointers);
  if (op->row_count < 0 || op->row_count > kRowsMax) {
    return Invalid("adjust_logits", "rows must be 0 to 65535");
  }
  if (op->count_max < 0) return Invalid("adjust_logits", "a negative count");
  if (op->vocabulary <= 0) return Invalid("adjust_logits", "no vocabulary");
  if (op->row_count == 0 || op->count_max == 0) return EBB_CUDA_OK;
  if (!AllGiven({op->logits, op->rows, op->adjustments, op->before})) {
    return Invalid("adjust_logits", kNeedsPointers);
  }
  if (!AllAligned16({op->adjustments})) return Invalid("adjust_logits", kNeedsAlignment);
  const unsigned blocks = (static_cast<unsigned>(op->count_max) - 1) / kThreads + 1;
  return LaunchKernel(AdjustLogitsKernel, dim3(blocks, static_cast<unsigned>(op->row_count)),
                      dim3(kThreads), 0, stream, *op);
}

}  // namespace ebb::kernels::cuda
