// The device part of the CUDA library's table: everything but the operations. Two forms: the
// device's (real/) and the fake's (fake/), each in its library.
#pragma once

#include "device/cuda/cuda_api.h"

namespace ebb::device {

// Fills every entry but `abi`, `table_bytes` and the operations.
void SetDeviceEntries(EbbCudaApi* api);

}  // namespace ebb::device
