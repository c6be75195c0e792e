// The one symbol that the CUDA library exports.
#include "device/cuda/cuda_api.h"
#include "kernels/cuda/library/table.h"

extern "C" __attribute__((visibility("default"))) const EbbCudaApi* EbbCudaOpenApi(uint32_t abi) {
  return abi == EBB_CUDA_ABI ? ebb::kernels::cuda::Table() : nullptr;
}
