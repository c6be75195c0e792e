// RMSNorm: float32 rows, gathered, to normalized bf16 rows.
#include "kernels/cuda/block_sum.cuh"
#include "kernels/cuda/op_check.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/prelude.cuh"

namespace ebb::kernels::cuda {
namespace {

constexpr int kThreads = 256;
// Groups of 8 elements that a thread keeps in registers: rows of up to 8192 are read once. Of
// longer ones the rest is read again, from the L2 cache mostly.
constexpr int kKept = 4;

struct Eight {
  float4 low;
  float4 high;
};

__device__ __forceinline__ Eight LoadEight(const float* from) {
  return {reinterpret_cast<const float4*>(from)[0], reinterpret_cast<const float4*>(from)[1]};
}

__device__ __forceinline__ float SquareSum(const Eight& v) {
  return v.low.x * v.low.x + v.low.y * v.low.y + v.low.z * v.low.z + v.low.w * v.low.w +
         v.high.x * v.high.x + v.high.y * v.high.y + v.high.z * v.high.z + v.high.w * v.high.w;
}

__device__ __forceinline__ void StoreEight(uint16_t* to, const Eight& v, const float* weight,
                                           float scale) {
  const Eight w = LoadEight(weight);
  *reinterpret_cast<uint4*>(to) =
      make_uint4(PackBf16(v.low.x * scale * w.low.x, v.low.y * scale * w.low.y),
                 PackBf16(v.low.z * scale * w.low.z, v.low.w * scale * w.low.w),
                 PackBf16(v.high.x * scale * w.high.x, v.high.y * scale * w.high.y),
                 PackBf16(v.high.z * scale * w.high.z, v.high.w * scale * w.high.w));
}

// A block per row.
__global__ void EBB_LAUNCH_BOUNDS(kThreads, 1) RmsNormKernel(EbbCudaRmsNorm p) {
  LetLaterWorkStart();
  AwaitEarlierWork();
  __shared__ float partials[kThreads / 32];
  const int64_t row = blockIdx.x;
  const float* x =
      p.x + (p.gather == nullptr ? row : static_cast<int64_t>(p.gather[row])) * p.width;
  uint16_t* out = p.out + row * p.width;
  const int begin = static_cast<int>(threadIdx.x) * 8;
  constexpr int kStep = kThreads * 8;

  Eight kept[kKept];
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kKept; ++i) {
    if (begin + i * kStep < p.width) {
      kept[i] = LoadEight(x + begin + i * kStep);
      sum += SquareSum(kept[i]);
    }
  }
  for (int i = begin + kKept * kStep; i < p.width; i += kStep) sum += SquareSum(LoadEight(x + i));

  const float mean = BlockSum(sum, partials) / static_cast<float>(p.width);
  const float scale = rsqrtf(mean + p.epsilon);
#pragma unroll
  for (int i = 0; i < kKept; ++i) {
    const int at = begin + i * kStep;
    if (at < p.width) StoreEight(out + at, kept[i], p.weight + at, scale);
  }
  for (int i = begin + kKept * kStep; i < p.width; i += kStep) {
    StoreEight(out + i, LoadEight(x + i), p.weight + i, scale);
  }
}

}  // namespace

int32_t LaunchRmsNorm(EbbCudaStream* stream, const EbbCudaRmsNorm* op) {
  if (op == nullptr) return Invalid("rms_norm", kNeedsPointers);
  if (op->rows < 0) return Invalid("rms_norm", "negative rows");
  if (op->rows == 0) return EBB_CUDA_OK;
  if (op->width <= 0 || op->width % 8 != 0) {
    return Invalid("rms_norm", "width is not a multiple of 8");
  }
  if (!AllGiven({op->x, op->weight, op->out})) return Invalid("rms_norm", kNeedsPointers);
  if (!AllAligned16({op->x, op->weight, op->out})) return Invalid("rms_norm", kNeedsAlignment);
  return LaunchKernel(RmsNormKernel, dim3(static_cast<unsigned>(op->rows)), dim3(kThreads), 0,
                      stream, *op);
}

}  // namespace ebb::kernels::cuda
