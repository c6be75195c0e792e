#include "tests/memory/test_device.h"

namespace ebb::memory {

struct TestDevice::Parts {
  device::FakeVmm vmm;
};

TestDevice::TestDevice(int64_t granularity_bytes, int64_t capacity_bytes)
    : parts_(new Parts{device::FakeVmm({granularity_bytes, capacity_bytes, /*backed=*/false})}) {}

TestDevice::~TestDevice() = default;

device::Vmm* TestDevice::vmm() { return &parts_->vmm; }

device::FakeVmm& TestDevice::fake() { return parts_->vmm; }

}  // namespace ebb::memory
