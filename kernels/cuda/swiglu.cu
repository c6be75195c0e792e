// SwiGLU: silu(gate) * up, elementwise.
#include "kernels/cuda/op_check.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/prelude.cuh"

namespace ebb::kernels::cuda {
namespace {

constexpr int kThreads = 256;

__device__ __forceinline__ float Gated(float gate, float up) {
  return gate / (1.0f + __expf(-gate)) * up;
}

__device__ __forceinline__ uint32_t GatedPair(uint32_t gate, uint32_t up) {
  return PackBf16(Gated(LowToFloat(gate), LowToFloat(up)),
                  Gated(HighToFloat(gate), HighToFloat(up)));
}

// blockIdx.x: the row; blockIdx.y: a stretch of 8 * kThreads columns.
__global__ void EBB_LAUNCH_BOUNDS(kThreads, 1) SwiGluKernel(EbbCudaSwiGlu p) {
  LetLaterWorkStart();
  AwaitEarlierWork();
  const int64_t row = blockIdx.x;
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * kThreads + threadIdx.x) * 8;
  if (column >= p.ffn_width) return;
  const uint16_t* from = p.gate_up + row * 2 * p.ffn_width + column;
  const uint4 gate = *reinterpret_cast<const uint4*>(from);
  const uint4 up = *reinterpret_cast<const uint4*>(from + p.ffn_width);
  *reinterpret_cast<uint4*>(p.out + row * p.ffn_width + column) =
      make_uint4(GatedPair(gate.x, up.x), GatedPair(gate.y, up.y), GatedPair(gate.z, up.z),
                 GatedPair(gate.w, up.w));
}

}  // namespace

int32_t LaunchSwiGlu(EbbCudaStream* stream, const EbbCudaSwiGlu* op) {
  if (op == nullptr) return Invalid("swiglu", kNeedsPointers);
  if (op->rows < 0) return Invalid("swiglu", "negative rows");
  if (op->rows == 0) return EBB_CUDA_OK;
  if (op->ffn_width <= 0 || op->ffn_width % 8 != 0) {
    return Invalid("swiglu", "ffn_width is not a multiple of 8");
  }
  if (!AllGiven({op->gate_up, op->out})) return Invalid("swiglu", kNeedsPointers);
  if (!AllAligned16({op->gate_up, op->out})) return Invalid("swiglu", kNeedsAlignment);
  const auto stretches = static_cast<unsigned>((op->ffn_width / 8 + kThreads - 1) / kThreads);
  return LaunchKernel(SwiGluKernel, dim3(static_cast<unsigned>(op->rows), stretches),
                      dim3(kThreads), 0, stream, *op);
}

}  // namespace ebb::kernels::cuda
