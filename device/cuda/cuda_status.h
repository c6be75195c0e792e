// The CUDA library's codes as statuses.
//
//   INVALID_ARGUMENT        INVALID_ARGUMENT
//   OUT_OF_MEMORY           RESOURCE_EXHAUSTED
//   NO_DRIVER, NO_DEVICE    NOT_FOUND
//   OLD_DRIVER, UNSUPPORTED FAILED_PRECONDITION
//   DEVICE_LOST             UNAVAILABLE, with a mark that IsDeviceLost sees
//   any other               INTERNAL
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "device/cuda/cuda_api.h"
#include "device/device_lost.h"

namespace ebb::device {

// The calling thread's last answer of the library as a status: "WHAT: the library's text". OK for
// EBB_CUDA_OK. To be called by the thread that got the code, before its next call.
absl::Status CudaStatus(const EbbCudaApi& api, int32_t code, absl::string_view what);

}  // namespace ebb::device
