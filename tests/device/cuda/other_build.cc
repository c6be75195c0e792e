// A library with the right entry and another interface.
#include "device/cuda/cuda_api.h"

extern "C" const EbbCudaApi* EbbCudaOpenApi(uint32_t) { return nullptr; }
