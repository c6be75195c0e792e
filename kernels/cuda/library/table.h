// The CUDA library's table, put together: the device part and the operations, of the form that this
// is compiled for (EBB_SIMT: the fake).
#pragma once

#include "device/cuda/cuda_api.h"

namespace ebb::kernels::cuda {

// The one table of this library. No entry is null.
const EbbCudaApi* Table();

}  // namespace ebb::kernels::cuda
