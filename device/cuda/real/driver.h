// The driver's own calls, found in libcuda.so.1 at run time, so that the library loads without it.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "device/cuda/cuda_api.h"

namespace ebb::device {

// Each entry has the name of its call, in the version that this toolkit's header means.
#define EBB_DRIVER_CALLS(X)        \
  X(cuInit)                        \
  X(cuDriverGetVersion)            \
  X(cuGetErrorName)                \
  X(cuGetErrorString)              \
  X(cuDeviceGetCount)              \
  X(cuDeviceGet)                   \
  X(cuDeviceGetName)               \
  X(cuDeviceGetUuid)               \
  X(cuDeviceGetAttribute)          \
  X(cuDeviceTotalMem)              \
  X(cuDevicePrimaryCtxRetain)      \
  X(cuDevicePrimaryCtxRelease)     \
  X(cuCtxSetCurrent)               \
  X(cuMemGetInfo)                  \
  X(cuMemGetAllocationGranularity) \
  X(cuMemAddressReserve)           \
  X(cuMemAddressFree)              \
  X(cuMemCreate)                   \
  X(cuMemMap)                      \
  X(cuMemSetAccess)                \
  X(cuMemUnmap)                    \
  X(cuMemRelease)                  \
  X(cuFuncGetModule)               \
  X(cuModuleGetFunctionCount)      \
  X(cuModuleEnumerateFunctions)    \
  X(cuFuncLoad)

struct Driver {
#define EBB_DRIVER_MEMBER(call) decltype(&::call) call##_;
  EBB_DRIVER_CALLS(EBB_DRIVER_MEMBER)
#undef EBB_DRIVER_MEMBER
  int32_t version = 0;
};

// Finds the driver and initialises it, once in a process. OK, or NO_DRIVER, OLD_DRIVER, NO_DEVICE,
// UNSUPPORTED with a text that says how to mend it. Thread-safe.
int32_t FindDriver(const Driver** driver);

}  // namespace ebb::device
