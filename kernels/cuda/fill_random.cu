// Random weights made in device memory, the same as model/random_weights.h makes on the host.
#include "kernels/cuda/op_check.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/prelude.cuh"

namespace ebb::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kEach = 8;  // Elements of a thread.

// base::Mix64 and base::RandomBits, in device code.
__device__ __forceinline__ uint64_t Mix64(uint64_t x) {
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

__device__ __forceinline__ float RandomWeight(uint64_t mixed_seed, uint64_t index, float scale) {
  const uint64_t bits = Mix64(mixed_seed ^ Mix64(index ^ 0xD1B54A32D192ED03ull));
  // 24 bits: the conversion and all but the last multiplication are exact.
  const float unit = static_cast<float>(static_cast<uint32_t>(bits >> 40)) * 0x1p-24f;
  return scale * (2.0f * unit - 1.0f);
}

__global__ void EBB_LAUNCH_BOUNDS(kThreads, 1) FillRandomKernel(EbbCudaFillRandom p) {
  LetLaterWorkStart();
  AwaitEarlierWork();
  const int64_t begin = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kEach;
  if (begin >= p.count) return;
  const uint64_t mixed_seed = Mix64(p.seed);
  const uint64_t index = p.first_index + static_cast<uint64_t>(begin);
  uint32_t pairs[kEach / 2];
#pragma unroll
  for (int i = 0; i < kEach / 2; ++i) {
    pairs[i] = PackBf16(RandomWeight(mixed_seed, index + 2 * i, p.scale),
                        RandomWeight(mixed_seed, index + 2 * i + 1, p.scale));
  }
  if (begin + kEach <= p.count) {
    *reinterpret_cast<uint4*>(p.out + begin) = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
    return;
  }
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    if (begin + i < p.count) {
      p.out[begin + i] = static_cast<uint16_t>(pairs[i / 2] >> (i % 2 * 16));
    }
  }
}

}  // namespace

int32_t LaunchFillRandom(EbbCudaStream* stream, const EbbCudaFillRandom* op) {
  if (op == nullptr) return Invalid("fill_random", kNeedsPointers);
  if (op->count < 0) return Invalid("fill_random", "a negative count");
  if (op->count == 0) return EBB_CUDA_OK;
  if (!AllGiven({op->out})) return Invalid("fill_random", kNeedsPointers);
  if (!AllAligned16({op->out})) return Invalid("fill_random", kNeedsAlignment);
  const int64_t blocks = (op->count - 1) / (kThreads * kEach) + 1;
  if (blocks > 0x7FFFFFFF) return Invalid("fill_random", "too many elements for one call");
  return LaunchKernel(FillRandomKernel, dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0,
                      stream, *op);
}

}  // namespace ebb::kernels::cuda
