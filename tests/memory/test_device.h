// The device under a test of the pool: the fake Vmm by itself, or the CUDA wrappers over the fake
// CUDA library, whose virtual memory is the same fake Vmm. Which of them says the library that the
// test links (test_device_fake, test_device_cuda), so that one test runs on both.
#pragma once

#include <cstdint>
#include <memory>

#include "device/vmm.h"
#include "device/vmm_fake.h"

namespace ebb::memory {

class TestDevice {
 public:
  TestDevice(int64_t granularity_bytes, int64_t capacity_bytes);
  ~TestDevice();

  // What the pool is given.
  device::Vmm* vmm();
  // Where a test asks for failures and looks at what is left.
  device::FakeVmm& fake();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace ebb::memory
