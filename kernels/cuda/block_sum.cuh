// Sums over a warp and a block, in an order that only the number of threads fixes.
#pragma once

#include "kernels/cuda/prelude.cuh"

namespace ebb::kernels::cuda {

// Every lane gets the sum of all 32. REQUIRES: the whole warp is here.
__device__ __forceinline__ float WarpSum(float value) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, step);
  return value;
}

// Every thread gets the sum of all. `partials` holds a float per warp, in shared memory.
// REQUIRES: blockDim.x is a multiple of 32; nobody else uses `partials` until the next barrier.
__device__ __forceinline__ float BlockSum(float value, float* partials) {
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int warps = static_cast<int>(blockDim.x) / 32;
  value = WarpSum(value);
  if (threadIdx.x % 32 == 0) partials[warp] = value;
  __syncthreads();
  float sum = 0;
  for (int i = 0; i < warps; ++i) sum += partials[i];
  return sum;
}

}  // namespace ebb::kernels::cuda
