// The fake CUDA library's table, for programs that link it. What tests ask of the fake itself:
// device/cuda/fake/fake_cuda.h.
#pragma once

#include "device/cuda/cuda_api.h"

const EbbCudaApi* EbbCudaFakeApi();
