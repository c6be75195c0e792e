#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "device/address_range.h"
#include "device/cuda/cuda_stream.h"
#include "device/cuda/cuda_vmm.h"
#include "device/device_lost.h"
#include "tests/device/cuda/fake_device.h"

namespace ebb::device {
namespace {

constexpr int64_t kGranule = int64_t{64} << 10;
constexpr int32_t kWidth = 64;  // Of a row: bf16, 128 bytes.
constexpr int64_t kRowsOfPage = kGranule / (kWidth * 2);
constexpr int kPages = 6;

class CudaGraphTest : public testing::Test {
 protected:
  absl::Status Fill(uint8_t* to, int byte, int64_t bytes) {
    return device_->Check(device_.api().fill_bytes(stream_->native(), to, byte, bytes), "fill");
  }
  void Synchronize() {
    ASSERT_EQ(device_.api().stream_synchronize(stream_->native()), EBB_CUDA_OK);
  }

  FakeDevice device_;
  const std::unique_ptr<CudaStream> stream_ = CudaStream::Create(device_.get(), {}).value();
};

TEST_F(CudaGraphTest, WhatIsCapturedRunsAtEachLaunchAndNotBefore) {
  const CudaBuffer buffer = device_->Alloc(3).value();
  const CudaGraph graph =
      CudaGraph::Capture(device_.get(), stream_->native(), [&] {
        const absl::Status status = Fill(buffer.data(), 1, 2);
        if (!status.ok()) return status;
        return device_->Check(
            device_.api().copy_on_device(stream_->native(), buffer.data() + 2, buffer.data(), 1),
            "copy");
      }).value();
  Synchronize();
  EXPECT_EQ(buffer.data()[0], 0xFF);
  for (int i = 0; i < 3; ++i) {
    std::memset(buffer.data(), 9, 3);
    ASSERT_TRUE(graph.Launch(stream_->native()).ok());
    Synchronize();
    EXPECT_EQ(buffer.data()[2], 1);
  }
  EXPECT_EQ(device_.fake().run_count(), 6);
}

TEST_F(CudaGraphTest, AFailedCaptureLeavesTheStreamUsable) {
  const CudaBuffer buffer = device_->Alloc(1).value();
  const auto capture = [&](const std::function<absl::Status()>& work) {
    return CudaGraph::Capture(device_.get(), stream_->native(), work).status();
  };
  const auto fill = [&] { return Fill(buffer.data(), 1, 1); };
  EXPECT_EQ(capture([] { return absl::AbortedError("no"); }), absl::AbortedError("no"));
  device_.fake().FailNth(FakeCudaCall::kCaptureEnd, 1);
  EXPECT_EQ(capture(fill).code(), absl::StatusCode::kInternal);
  device_.fake().FailNth(FakeCudaCall::kLaunch, 1);
  EXPECT_EQ(capture(fill).code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(capture(fill).ok());
  ASSERT_TRUE(fill().ok());
  Synchronize();
  EXPECT_EQ(buffer.data()[0], 1);
}

// As on the device: what a capture must not do spoils it.
TEST_F(CudaGraphTest, AllocatingAndWaitingSpoilACapture) {
  const CudaBuffer buffer = device_->Alloc(1).value();
  CudaEvent event = CudaEvent::Create(device_.get()).value();
  const std::vector<std::function<void()>> forbidden = {
      [&] { EXPECT_FALSE(device_->Alloc(1).ok()); },
      [&] { EXPECT_FALSE(device_->AllocHost(1).ok()); },
      [&] { EXPECT_NE(device_.api().stream_synchronize(stream_->native()), EBB_CUDA_OK); },
      [&] { EXPECT_FALSE(event.Record(stream_->native()).ok()); },
      [&] { EXPECT_FALSE(event.Wait().ok()); },
      [&] { EXPECT_FALSE(stream_->WaitFor(event).ok()); },
      [&] { EXPECT_NE(device_.api().capture_begin(stream_->native()), EBB_CUDA_OK); },
  };
  for (size_t i = 0; i + 1 < forbidden.size(); ++i) {
    const absl::Status status = CudaGraph::Capture(device_.get(), stream_->native(), [&] {
                                  forbidden[i]();
                                  return Fill(buffer.data(), 1, 1);
                                }).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << i << ": " << status;
  }
  EXPECT_TRUE(CudaGraph::Capture(device_.get(), stream_->native(), [&] {
                forbidden.back()();
                return Fill(buffer.data(), 1, 1);
              }).ok());
}

// Thread-local mode: others may allocate meanwhile.
TEST_F(CudaGraphTest, OtherThreadsDoNotDisturbACapture) {
  const CudaBuffer buffer = device_->Alloc(1).value();
  EXPECT_TRUE(CudaGraph::Capture(device_.get(), stream_->native(), [&] {
                std::thread other([&] { EXPECT_TRUE(device_->Alloc(8).ok()); });
                other.join();
                return Fill(buffer.data(), 1, 1);
              }).ok());
}

TEST_F(CudaGraphTest, OnALostDeviceALaunchIsRefused) {
  const CudaBuffer buffer = device_->Alloc(1).value();
  const CudaGraph graph = CudaGraph::Capture(device_.get(), stream_->native(), [&] {
                            return Fill(buffer.data(), 1, 1);
                          }).value();
  device_.fake().FailNth(FakeCudaCall::kGraphLaunch, 1);
  EXPECT_EQ(graph.Launch(stream_->native()).code(), absl::StatusCode::kInternal);
  device_.fake().Lose();
  EXPECT_TRUE(IsDeviceLost(graph.Launch(stream_->native())));
}

// A pool of pages at fixed addresses, and rows in it, each filled with its page's number.
class Pool {
 public:
  Pool(const FakeDevice& device, CudaStream* stream)
      : device_(device),
        stream_(stream),
        vmm_(CudaVmm::Create(device.get()).value()),
        range_(AddressRange::Reserve(vmm_.get(), kPages * kGranule).value()) {}
  ~Pool() {
    for (int page = 0; page < kPages; ++page) {
      if (handles_[page] != 0) Shrink(page);
    }
  }

  void Grow(int page, uint16_t bf16) {
    handles_[page] = vmm_->Create(kGranule).value();
    uint8_t* const address = base() + page * kGranule;
    ASSERT_TRUE(vmm_->Map(address, kGranule, handles_[page]).ok());
    ASSERT_TRUE(vmm_->SetAccess(address, kGranule).ok());
    std::vector<uint16_t> numbers(kGranule / 2, bf16);
    ASSERT_EQ(device_.api().copy_to_device(stream_->native(), address, numbers.data(), kGranule),
              EBB_CUDA_OK);
    ASSERT_EQ(device_.api().stream_synchronize(stream_->native()), EBB_CUDA_OK);
  }
  // REQUIRES: no work is queued.
  void Shrink(int page) {
    ASSERT_TRUE(vmm_->Unmap(base() + page * kGranule, kGranule).ok());
    ASSERT_TRUE(vmm_->Release(handles_[page]).ok());
    handles_[page] = 0;
  }
  uint8_t* base() const { return range_.base(); }

 private:
  const FakeDevice& device_;
  CudaStream* const stream_;
  const std::unique_ptr<CudaVmm> vmm_;
  const AddressRange range_;
  VmmHandle handles_[kPages] = {};
};

// The graph is captured once; the pool grows and shrinks between its launches, and each launch
// reads what rows to gather, from pages that did not exist at the capture, out of a fixed buffer.
TEST_F(CudaGraphTest, SurvivesGrowthAndShrinkingOfThePool) {
  Pool pool(device_, stream_.get());
  constexpr int32_t kRows = 4;
  const CudaBuffer ids = device_->Alloc(kRows * sizeof(int32_t)).value();
  const CudaBuffer x = device_->Alloc(kRows * kWidth * sizeof(float)).value();
  const CudaHostBuffer staged = device_->AllocHost(ids.bytes()).value();
  const CudaHostBuffer result = device_->AllocHost(x.bytes()).value();
  const CudaGraph graph =
      CudaGraph::Capture(device_.get(), stream_->native(), [&] {
        const EbbCudaEmbed op = {ids.As<int32_t>(), reinterpret_cast<uint16_t*>(pool.base()),
                                 x.As<float>(), kRows, kWidth};
        return device_->Check(device_.api().embed(stream_->native(), &op), "embed");
      }).value();

  // Gathers one row from each of these pages (four of them) and expects each page's number.
  const auto expect = [&](const std::vector<int>& pages, const std::vector<float>& numbers) {
    for (int r = 0; r < kRows; ++r) {
      staged.As<int32_t>()[r] = static_cast<int32_t>(pages[r] * kRowsOfPage + 7 * r);
    }
    const EbbCudaApi& api = device_.api();
    ASSERT_EQ(api.copy_to_device(stream_->native(), ids.data(), staged.data(), ids.bytes()),
              EBB_CUDA_OK);
    ASSERT_TRUE(graph.Launch(stream_->native()).ok());
    ASSERT_EQ(api.copy_to_host(stream_->native(), result.data(), x.data(), x.bytes()), EBB_CUDA_OK);
    Synchronize();
    for (int r = 0; r < kRows; ++r) {
      for (int i = 0; i < kWidth; ++i) {
        ASSERT_EQ(result.As<float>()[r * kWidth + i], numbers[r]) << "row " << r;
      }
    }
  };
  constexpr uint16_t kOne = 0x3F80, kTwo = 0x4000, kFour = 0x4080;  // In bf16.

  pool.Grow(0, kOne);
  expect({0, 0, 0, 0}, {1, 1, 1, 1});
  pool.Grow(5, kTwo);
  pool.Grow(2, kFour);
  expect({0, 5, 2, 5}, {1, 2, 4, 2});
  pool.Shrink(0);
  expect({5, 5, 2, 2}, {2, 2, 4, 4});
  pool.Shrink(5);
  pool.Grow(5, kFour);  // Other memory at the same addresses.
  pool.Grow(0, kTwo);
  expect({0, 5, 2, 0}, {2, 4, 4, 2});
}

}  // namespace
}  // namespace ebb::device
