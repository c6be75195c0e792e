#include "device/cuda/cuda_status.h"

#include "absl/strings/str_cat.h"

namespace ebb::device {
namespace {

absl::StatusCode StatusCodeOf(int32_t code) {
  switch (code) {
    case EBB_CUDA_INVALID_ARGUMENT:
      return absl::StatusCode::kInvalidArgument;
    case EBB_CUDA_OUT_OF_MEMORY:
      return absl::StatusCode::kResourceExhausted;
    case EBB_CUDA_NO_DRIVER:
    case EBB_CUDA_NO_DEVICE:
      return absl::StatusCode::kNotFound;
    case EBB_CUDA_OLD_DRIVER:
    case EBB_CUDA_UNSUPPORTED:
      return absl::StatusCode::kFailedPrecondition;
    default:
      return absl::StatusCode::kInternal;
  }
}

}  // namespace

absl::Status CudaStatus(const EbbCudaApi& api, int32_t code, absl::string_view what) {
  if (code == EBB_CUDA_OK) return absl::OkStatus();
  const absl::string_view text = api.error_text();
  const std::string message = absl::StrCat(what, ": ", text);
  if (code == EBB_CUDA_DEVICE_LOST) return DeviceLostError(message);
  return absl::Status(StatusCodeOf(code), message);
}

}  // namespace ebb::device
