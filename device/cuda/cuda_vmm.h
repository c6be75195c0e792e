// CudaVmm: the driver's virtual memory calls as a Vmm.
#pragma once

#include <cstdint>

#include "device/cuda/cuda_device.h"
#include "device/vmm.h"

namespace ebb::device {

// Thread-safe. On a lost device memory and addresses are gone: Unmap, Release and Free then answer
// OK, so that what held them can be taken down, and all others UNAVAILABLE (IsDeviceLost).
class CudaVmm final : public Vmm {
 public:
  // The device outlives it.
  static absl::StatusOr<std::unique_ptr<CudaVmm>> Create(const CudaDevice* device);

  int64_t granularity_bytes() const override { return granularity_bytes_; }
  absl::StatusOr<uint8_t*> Reserve(int64_t bytes) override;
  absl::Status Free(uint8_t* address, int64_t bytes) override;
  absl::StatusOr<VmmHandle> Create(int64_t bytes) override;
  absl::Status Map(uint8_t* address, int64_t bytes, VmmHandle handle) override;
  absl::Status SetAccess(uint8_t* address, int64_t bytes) override;
  absl::Status Unmap(uint8_t* address, int64_t bytes) override;
  absl::Status Release(VmmHandle handle) override;
  absl::StatusOr<int64_t> FreeBytes() override { return device_->FreeBytes(); }

 private:
  CudaVmm(const CudaDevice* device, int64_t granularity_bytes)
      : device_(device), granularity_bytes_(granularity_bytes) {}
  // Check, but OK on a lost device.
  absl::Status CheckGivenUp(int32_t code, absl::string_view what) const;

  const CudaDevice* const device_;
  const int64_t granularity_bytes_;
};

}  // namespace ebb::device
