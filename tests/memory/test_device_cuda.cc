#include "device/cuda/cuda_device.h"
#include "device/cuda/cuda_library.h"
#include "device/cuda/cuda_vmm.h"
#include "device/cuda/fake/fake_cuda.h"
#include "kernels/cuda/library/fake_api.h"
#include "tests/memory/test_device.h"

namespace ebb::memory {

struct TestDevice::Parts {
  device::CudaLibrary library{EbbCudaFakeApi()};
  std::unique_ptr<device::CudaDevice> device;
  std::unique_ptr<device::CudaVmm> vmm;
};

TestDevice::TestDevice(int64_t granularity_bytes, int64_t capacity_bytes) : parts_(new Parts) {
  device::FakeCudaOptions options;
  options.granularity_bytes = granularity_bytes;
  options.capacity_bytes = capacity_bytes;
  device::SetFakeCudaOptions(options);
  parts_->device = device::CudaDevice::Open(&parts_->library, 0).value();
  parts_->vmm = device::CudaVmm::Create(parts_->device.get()).value();
}

TestDevice::~TestDevice() = default;

device::Vmm* TestDevice::vmm() { return parts_->vmm.get(); }

device::FakeVmm& TestDevice::fake() {
  return device::FakeCuda::Of(parts_->device->context()).vmm();
}

}  // namespace ebb::memory
