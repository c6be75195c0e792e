#include "device/cuda/cuda_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "device/cuda/cuda_vmm.h"
#include "device/device_lost.h"
#include "tests/device/cuda/fake_device.h"

namespace ebb::device {
namespace {

constexpr int64_t kGranule = int64_t{64} << 10;

TEST(CudaDeviceTest, MemoryIsFreedWithItsOwner) {
  const FakeDevice device;
  const int64_t free_bytes = device->FreeBytes().value();
  {
    CudaBuffer buffer = device->Alloc(1000).value();
    EXPECT_EQ(buffer.bytes(), 1000);
    EXPECT_TRUE(std::isnan(buffer.As<float>()[0])) << "device memory must not look written";
    EXPECT_EQ(device->FreeBytes().value(), free_bytes - 1000);
    const CudaBuffer moved = std::move(buffer);
    EXPECT_EQ(buffer.data(), nullptr);
    EXPECT_NE(moved.data(), nullptr);
    const CudaHostBuffer host = device->AllocHost(500).value();
    EXPECT_EQ(device.fake().host_alloc_bytes(), 500);
  }
  EXPECT_EQ(device->FreeBytes().value(), free_bytes);
  EXPECT_EQ(device.fake().host_alloc_bytes(), 0);
}

TEST(CudaDeviceTest, TooMuchMemoryIsRefused) {
  FakeCudaOptions options;
  options.capacity_bytes = 10 * kGranule;
  const FakeDevice device(options);
  EXPECT_EQ(device->Alloc(11 * kGranule).status().code(), absl::StatusCode::kResourceExhausted);
  device.fake().FailNth(FakeCudaCall::kAlloc, 1);
  EXPECT_EQ(device->Alloc(1).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(device->Alloc(1).ok());
  device.fake().FailNth(FakeCudaCall::kHostAlloc, 1);
  EXPECT_EQ(device->AllocHost(1).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_FALSE(device->lost());
}

TEST(CudaDeviceTest, ALossIsKeptWhoeverHearsOfItFirst) {
  const FakeDevice device;
  const CudaBuffer buffer = device->Alloc(1000).value();  // Freed on the lost device: no failure.
  const CudaHostBuffer host = device->AllocHost(1000).value();
  EXPECT_TRUE(device->loss().ok());
  device.fake().Lose();
  EXPECT_FALSE(device->lost()) << "nobody has heard of it";
  const absl::Status status = device->FreeBytes().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(IsDeviceLost(status));
  EXPECT_TRUE(device->lost());
  EXPECT_TRUE(IsDeviceLost(device->Alloc(1).status()));
  EXPECT_EQ(device->loss(), status);
  EXPECT_FALSE(IsDeviceLost(absl::UnavailableError("another")));
}

// ---- CudaVmm

class CudaVmmTest : public testing::Test {
 protected:
  CudaVmmTest() : device_(Options()), vmm_(CudaVmm::Create(device_.get()).value()) {}
  static FakeCudaOptions Options() {
    FakeCudaOptions options;
    options.granularity_bytes = kGranule;
    options.capacity_bytes = 8 * kGranule;
    return options;
  }

  const FakeDevice device_;
  const std::unique_ptr<CudaVmm> vmm_;
};

TEST_F(CudaVmmTest, MapsOpensAndGivesBack) {
  EXPECT_EQ(vmm_->granularity_bytes(), kGranule);
  uint8_t* const base = vmm_->Reserve(4 * kGranule).value();
  EXPECT_EQ(vmm_->FreeBytes().value(), 8 * kGranule);
  const VmmHandle handle = vmm_->Create(2 * kGranule).value();
  EXPECT_EQ(vmm_->FreeBytes().value(), 6 * kGranule);
  ASSERT_TRUE(vmm_->Map(base + kGranule, 2 * kGranule, handle).ok());
  ASSERT_TRUE(vmm_->SetAccess(base + kGranule, 2 * kGranule).ok());
  EXPECT_EQ(base[kGranule], 0xFF) << "device memory must not look written";
  base[3 * kGranule - 1] = 7;
  ASSERT_TRUE(vmm_->Unmap(base + kGranule, 2 * kGranule).ok());
  EXPECT_EQ(vmm_->FreeBytes().value(), 6 * kGranule) << "the handle still holds the memory";
  ASSERT_TRUE(vmm_->Release(handle).ok());
  EXPECT_EQ(vmm_->FreeBytes().value(), 8 * kGranule);
  EXPECT_TRUE(vmm_->Free(base, 4 * kGranule).ok());
}

TEST_F(CudaVmmTest, AFullDeviceAndAFailingDriverAreDifferentAnswers) {
  EXPECT_EQ(vmm_->Create(9 * kGranule).status().code(), absl::StatusCode::kResourceExhausted);
  device_.fake().SetPeerBytes(8 * kGranule);
  EXPECT_EQ(vmm_->Create(kGranule).status().code(), absl::StatusCode::kResourceExhausted);
  device_.fake().SetPeerBytes(0);
  const CudaBuffer buffer = device_->Alloc(7 * kGranule + 1).value();
  EXPECT_EQ(vmm_->Create(kGranule).status().code(), absl::StatusCode::kResourceExhausted)
      << "buffers and mapped memory share the device";
  for (const VmmCall call : {VmmCall::kReserve, VmmCall::kCreate, VmmCall::kFreeBytes}) {
    device_.fake().vmm().FailNth(call, 1);
  }
  EXPECT_EQ(vmm_->Reserve(kGranule).status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(vmm_->Create(kGranule).status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(vmm_->FreeBytes().status().code(), absl::StatusCode::kInternal);
}

TEST_F(CudaVmmTest, OnALostDeviceGivingUpSucceedsAndNothingElseDoes) {
  uint8_t* const base = vmm_->Reserve(2 * kGranule).value();
  const VmmHandle handle = vmm_->Create(kGranule).value();
  ASSERT_TRUE(vmm_->Map(base, kGranule, handle).ok());
  device_.fake().Lose();
  EXPECT_TRUE(IsDeviceLost(vmm_->SetAccess(base, kGranule)));
  EXPECT_TRUE(IsDeviceLost(vmm_->Map(base + kGranule, kGranule, handle)));
  EXPECT_TRUE(IsDeviceLost(vmm_->Create(kGranule).status()));
  EXPECT_TRUE(IsDeviceLost(vmm_->Reserve(kGranule).status()));
  EXPECT_TRUE(IsDeviceLost(vmm_->FreeBytes().status()));
  EXPECT_TRUE(vmm_->Unmap(base, kGranule).ok());
  EXPECT_TRUE(vmm_->Release(handle).ok());
  EXPECT_TRUE(vmm_->Free(base, 2 * kGranule).ok());
  EXPECT_TRUE(device_->lost());
}

}  // namespace
}  // namespace ebb::device
