// Linear layers: which kernel serves which shape.
#include "kernels/cuda/linear_parts.h"
#include "kernels/cuda/op_check.h"
#include "kernels/cuda/ops.h"

namespace ebb::kernels::cuda {

int32_t LaunchLinear(EbbCudaStream* stream, const EbbCudaLinear* op) {
  if (op == nullptr) return Invalid("linear", kNeedsPointers);
  if (op->rows < 0) return Invalid("linear", "negative rows");
  if (op->rows == 0) return EBB_CUDA_OK;
  if (op->outputs <= 0 || op->outputs % 8 != 0 || op->inputs <= 0 || op->inputs % 8 != 0) {
    return Invalid("linear", "outputs or inputs is not a multiple of 8");
  }
  if (op->output != EBB_CUDA_BF16 && op->output != EBB_CUDA_F32 &&
      op->output != EBB_CUDA_F32_ACCUMULATE) {
    return Invalid("linear", "no such output type");
  }
  if (!AllGiven({op->weight, op->x, op->y})) return Invalid("linear", kNeedsPointers);
  if (!AllAligned16({op->weight, op->x, op->y})) return Invalid("linear", kNeedsAlignment);
  if (op->scratch_bytes < 0 || (op->scratch_bytes > 0 && op->scratch == nullptr) ||
      reinterpret_cast<uintptr_t>(op->scratch) % 256 != 0) {
    return Invalid("linear", "scratch is not aligned to 256 bytes, or not there");
  }
  if (op->sm_target < 0) return Invalid("linear", "a negative sm_target");
  if (op->invariant != 0) return LaunchLinearTiles(stream, *op);
  if (op->rows <= kGemvRows) return LaunchLinearGemv(stream, *op);
  return LaunchLinearLibrary(stream, *op);
}

// cuBLASLt's own advice for Hopper; earlier devices do not mind.
int64_t LinearScratchBytes(EbbCudaContext*) { return int64_t{32} << 20; }

}  // namespace ebb::kernels::cuda
