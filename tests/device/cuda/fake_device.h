// A device of the fake CUDA library, opened, for tests.
#pragma once

#include <cstdint>
#include <memory>

#include "device/cuda/cuda_device.h"
#include "device/cuda/cuda_library.h"
#include "device/cuda/fake/fake_cuda.h"
#include "kernels/cuda/library/fake_api.h"

namespace ebb::device {

class FakeDevice {
 public:
  explicit FakeDevice(const FakeCudaOptions& options = {}) : library_(EbbCudaFakeApi()) {
    SetFakeCudaOptions(options);
    device_ = CudaDevice::Open(&library_, 0).value();
  }

  const CudaDevice* get() const { return device_.get(); }
  const CudaDevice* operator->() const { return device_.get(); }
  const EbbCudaApi& api() const { return device_->api(); }
  FakeCuda& fake() const { return FakeCuda::Of(device_->context()); }

 private:
  CudaLibrary library_;
  std::unique_ptr<CudaDevice> device_;
};

}  // namespace ebb::device
