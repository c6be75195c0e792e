#include "device/cuda/cuda_device.h"

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "device/cuda/cuda_status.h"

namespace ebb::device {

template <bool kOnHost>
CudaMemory<kOnHost>::~CudaMemory() {
  if (data_ == nullptr) return;
  const EbbCudaApi& api = device_->api();
  const int32_t code =
      kOnHost ? api.host_free(device_->context(), data_) : api.free(device_->context(), data_);
  const absl::Status status = device_->Check(code, "freeing memory");
  // What a lost device held is gone; anything else would be a pointer that is not ours.
  CHECK(status.ok() || device_->lost()) << status.ToString();
}

template class CudaMemory<false>;
template class CudaMemory<true>;

absl::StatusOr<std::unique_ptr<CudaDevice>> CudaDevice::Open(const CudaLibrary* library,
                                                             int32_t index) {
  ASSIGN_OR_RETURN(const EbbCudaDeviceInfo info, library->DeviceInfo(index));
  const EbbCudaApi& api = library->api();
  EbbCudaContext* context = nullptr;
  RETURN_IF_ERROR(CudaStatus(api, api.open(index, &context),
                             absl::StrCat("opening CUDA device ", index, " (", info.name, ")")));
  return std::unique_ptr<CudaDevice>(new CudaDevice(&api, context, info));
}

CudaDevice::~CudaDevice() { api_->close(context_); }

absl::Status CudaDevice::Check(int32_t code, absl::string_view what) const {
  if (code == EBB_CUDA_OK) return absl::OkStatus();
  absl::Status status = CudaStatus(*api_, code, what);
  if (code == EBB_CUDA_DEVICE_LOST) {
    base::MutexLock lock(&mutex_);
    if (loss_.ok()) loss_ = status;
    lost_.store(true, std::memory_order_release);
  }
  return status;
}

absl::Status CudaDevice::loss() const {
  base::MutexLock lock(&mutex_);
  return loss_;
}

absl::StatusOr<CudaBuffer> CudaDevice::Alloc(int64_t bytes) const {
  CHECK_GT(bytes, 0);
  void* memory = nullptr;
  RETURN_IF_ERROR(Check(api_->alloc(context_, bytes, &memory),
                        absl::StrCat("taking ", bytes, " bytes of device memory")));
  return CudaBuffer(this, static_cast<uint8_t*>(memory), bytes);
}

absl::StatusOr<CudaHostBuffer> CudaDevice::AllocHost(int64_t bytes) const {
  CHECK_GT(bytes, 0);
  void* memory = nullptr;
  RETURN_IF_ERROR(Check(api_->host_alloc(context_, bytes, &memory),
                        absl::StrCat("taking ", bytes, " bytes of pinned host memory")));
  return CudaHostBuffer(this, static_cast<uint8_t*>(memory), bytes);
}

absl::StatusOr<int64_t> CudaDevice::FreeBytes() const {
  int64_t free_bytes = 0, total_bytes = 0;
  RETURN_IF_ERROR(Check(api_->memory_info(context_, &free_bytes, &total_bytes),
                        "reading the device's free memory"));
  return free_bytes;
}

}  // namespace ebb::device
