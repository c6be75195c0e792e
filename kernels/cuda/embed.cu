// Embedding: token ids to rows of the float32 residual stream.
#include "kernels/cuda/op_check.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/prelude.cuh"

namespace ebb::kernels::cuda {
namespace {

constexpr int kThreads = 256;

// A block per row; a thread widens 8 elements at a time.
__global__ void EBB_LAUNCH_BOUNDS(kThreads, 1) EmbedKernel(EbbCudaEmbed p) {
  LetLaterWorkStart();
  AwaitEarlierWork();
  const int64_t row = blockIdx.x;
  const uint16_t* from = p.table + static_cast<int64_t>(p.ids[row]) * p.width;
  float* to = p.x + row * p.width;
  for (int i = static_cast<int>(threadIdx.x) * 8; i < p.width;
       i += static_cast<int>(blockDim.x) * 8) {
    const uint4 packed = *reinterpret_cast<const uint4*>(from + i);
    *reinterpret_cast<float4*>(to + i) = make_float4(LowToFloat(packed.x), HighToFloat(packed.x),
                                                     LowToFloat(packed.y), HighToFloat(packed.y));
    *reinterpret_cast<float4*>(to + i + 4) = make_float4(
        LowToFloat(packed.z), HighToFloat(packed.z), LowToFloat(packed.w), HighToFloat(packed.w));
  }
}

}  // namespace

int32_t LaunchEmbed(EbbCudaStream* stream, const EbbCudaEmbed* op) {
  if (op == nullptr) return Invalid("embed", kNeedsPointers);
  if (op->rows < 0) return Invalid("embed", "negative rows");
  if (op->rows == 0) return EBB_CUDA_OK;
  if (op->width <= 0 || op->width % 8 != 0) return Invalid("embed", "width is not a multiple of 8");
  if (!AllGiven({op->ids, op->table, op->x})) return Invalid("embed", kNeedsPointers);
  if (!AllAligned16({op->table, op->x})) return Invalid("embed", kNeedsAlignment);
  return LaunchKernel(EmbedKernel, dim3(static_cast<unsigned>(op->rows)), dim3(kThreads), 0, stream,
                      *op);
}

}  // namespace ebb::kernels::cuda
