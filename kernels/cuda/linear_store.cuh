// Two adjacent results of a linear operation, stored as its output type says.
#pragma once

#include "kernels/cuda/prelude.cuh"

namespace ebb::kernels::cuda {

// REQUIRES: output is even.
__device__ __forceinline__ void StoreLinearPair(const EbbCudaLinear& op, int row, int output,
                                                float first, float second) {
  const int64_t at = static_cast<int64_t>(row) * op.outputs + output;
  if (op.output == EBB_CUDA_BF16) {
    *reinterpret_cast<uint32_t*>(static_cast<uint16_t*>(op.y) + at) = PackBf16(first, second);
    return;
  }
  float2* to = reinterpret_cast<float2*>(static_cast<float*>(op.y) + at);
  if (op.output == EBB_CUDA_F32_ACCUMULATE) {
    const float2 old = *to;
    first += old.x;
    second += old.y;
  }
  *to = make_float2(first, second);
}

}  // namespace ebb::kernels::cuda
