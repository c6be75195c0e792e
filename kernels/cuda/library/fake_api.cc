#include "kernels/cuda/library/fake_api.h"

#include "kernels/cuda/library/table.h"

const EbbCudaApi* EbbCudaFakeApi() { return ebb::kernels::cuda::Table(); }
