// Parts of the operations that are not in the library yet; a strong definition takes their place.
#include "device/cuda/cuda_error.h"
#include "kernels/cuda/linear_parts.h"
#include "kernels/cuda/ops.h"

namespace ebb::kernels::cuda {

__attribute__((weak)) int32_t LaunchLinearLibrary(EbbCudaStream*, const EbbCudaLinear&) {
  return device::SetError(EBB_CUDA_UNSUPPORTED, "linear: cuBLASLt is not built in");
}

__attribute__((weak)) int64_t LinearScratchBytes(EbbCudaContext*) { return 0; }

}  // namespace ebb::kernels::cuda
