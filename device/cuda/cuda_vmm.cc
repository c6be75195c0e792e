#include "device/cuda/cuda_vmm.h"

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace ebb::device {

absl::StatusOr<std::unique_ptr<CudaVmm>> CudaVmm::Create(const CudaDevice* device) {
  int64_t bytes = 0;
  RETURN_IF_ERROR(device->Check(device->api().vmm_granularity(device->context(), &bytes),
                                "asking for the granularity of device memory"));
  if (bytes <= 0 || (bytes & (bytes - 1)) != 0) {
    return absl::InternalError(
        absl::StrCat("the driver's granularity of device memory is no power of two: ", bytes));
  }
  return std::unique_ptr<CudaVmm>(new CudaVmm(device, bytes));
}

absl::StatusOr<uint8_t*> CudaVmm::Reserve(int64_t bytes) {
  uint8_t* address = nullptr;
  RETURN_IF_ERROR(
      device_->Check(device_->api().vmm_reserve(device_->context(), bytes, &address),
                     absl::StrCat("reserving addresses for ", bytes, " bytes of device memory")));
  CHECK_EQ(reinterpret_cast<uintptr_t>(address) % granularity_bytes_, 0u);
  return address;
}

absl::Status CudaVmm::Free(uint8_t* address, int64_t bytes) {
  return CheckGivenUp(device_->api().vmm_free(device_->context(), address, bytes),
                      "freeing reserved addresses");
}

absl::StatusOr<VmmHandle> CudaVmm::Create(int64_t bytes) {
  VmmHandle handle = 0;
  RETURN_IF_ERROR(device_->Check(device_->api().vmm_create(device_->context(), bytes, &handle),
                                 absl::StrCat("creating ", bytes, " bytes of device memory")));
  CHECK_NE(handle, 0u);
  return handle;
}

absl::Status CudaVmm::Map(uint8_t* address, int64_t bytes, VmmHandle handle) {
  return device_->Check(device_->api().vmm_map(device_->context(), address, bytes, handle),
                        "mapping device memory");
}

absl::Status CudaVmm::SetAccess(uint8_t* address, int64_t bytes) {
  return device_->Check(device_->api().vmm_set_access(device_->context(), address, bytes),
                        "opening mapped device memory");
}

absl::Status CudaVmm::Unmap(uint8_t* address, int64_t bytes) {
  return CheckGivenUp(device_->api().vmm_unmap(device_->context(), address, bytes),
                      "unmapping device memory");
}

absl::Status CudaVmm::Release(VmmHandle handle) {
  return CheckGivenUp(device_->api().vmm_release(device_->context(), handle),
                      "releasing device memory");
}

absl::Status CudaVmm::CheckGivenUp(int32_t code, absl::string_view what) const {
  const absl::Status status = device_->Check(code, what);
  return code == EBB_CUDA_DEVICE_LOST ? absl::OkStatus() : status;
}

}  // namespace ebb::device
