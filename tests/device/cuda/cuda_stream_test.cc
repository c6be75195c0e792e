#include "device/cuda/cuda_stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "device/device_lost.h"
#include "tests/device/cuda/fake_device.h"

namespace ebb::device {
namespace {

class CudaStreamTest : public testing::Test {
 protected:
  std::unique_ptr<CudaStream> NewStream(Stream::OnCompleted on_completed = nullptr) {
    return CudaStream::Create(device_.get(), {}, std::move(on_completed)).value();
  }
  // Queues byte after byte into `to`, each in a launch of its own.
  void Fill(CudaStream* stream, uint8_t* to, int count) {
    for (int i = 0; i < count; ++i) {
      stream->Launch([&, i] {
        EXPECT_EQ(device_.api().fill_bytes(stream->native(), to + i, i, 1), EBB_CUDA_OK);
      });
    }
  }

  FakeDevice device_;
};

TEST_F(CudaStreamTest, TicketsCompleteInOrderAfterTheirWork) {
  const CudaBuffer buffer = device_->Alloc(200).value();
  base::Mutex mutex;
  std::vector<Ticket> completed;
  CudaStream* self = nullptr;
  const auto stream = NewStream([&](Ticket ticket) {
    EXPECT_GE(self->completed(), ticket);
    EXPECT_EQ(buffer.data()[ticket - 1], ticket - 1) << "told before the work was done";
    base::MutexLock lock(&mutex);
    completed.push_back(ticket);
  });
  self = stream.get();
  device_.fake().Hold(stream->native());
  Fill(stream.get(), buffer.data(), 200);
  EXPECT_EQ(stream->submitted(), 200u);
  EXPECT_EQ(stream->completed(), 0u);
  EXPECT_EQ(buffer.data()[0], 0xFF) << "work ran while the stream was held";
  device_.fake().Release(stream->native());
  stream->Wait(200);
  EXPECT_EQ(stream->completed(), 200u);
  base::MutexLock lock(&mutex);
  ASSERT_EQ(completed.size(), 200u);
  EXPECT_TRUE(std::is_sorted(completed.begin(), completed.end()));
  EXPECT_TRUE(stream->status().ok());
}

TEST_F(CudaStreamTest, WorkRunsInTheCallersThreadBeforeLaunchReturns) {
  const auto stream = NewStream();
  bool ran = false;
  EXPECT_EQ(stream->Launch([&] { ran = true; }), 1u);
  EXPECT_TRUE(ran);
  stream->Wait(1);
}

TEST_F(CudaStreamTest, TheDestructorWaitsForWhatWasLaunched) {
  const CudaBuffer buffer = device_->Alloc(100).value();
  Ticket last = 0;
  {
    const auto stream = NewStream([&](Ticket ticket) { last = ticket; });
    Fill(stream.get(), buffer.data(), 100);
  }
  EXPECT_EQ(last, 100u);
  EXPECT_EQ(buffer.data()[99], 99);
}

// A copy takes what stands in the staging buffer when the device comes to it, not when it is
// queued.
TEST_F(CudaStreamTest, AStagingBufferReusedTooEarlyShows) {
  const auto stream = NewStream();
  const CudaBuffer buffer = device_->Alloc(8).value();
  const CudaHostBuffer staging = device_->AllocHost(8).value();
  std::memset(staging.data(), 1, 8);
  device_.fake().Hold(stream->native());
  ASSERT_EQ(device_.api().copy_to_device(stream->native(), buffer.data(), staging.data(), 8),
            EBB_CUDA_OK);
  std::memset(staging.data(), 2, 8);
  device_.fake().Release(stream->native());
  ASSERT_EQ(device_.api().stream_synchronize(stream->native()), EBB_CUDA_OK);
  EXPECT_EQ(buffer.data()[0], 2);
}

TEST_F(CudaStreamTest, AnEventOrdersTwoStreams) {
  const auto first = NewStream(), second = NewStream();
  const CudaBuffer buffer = device_->Alloc(16).value();
  CudaEvent event = CudaEvent::Create(device_.get()).value();
  EXPECT_TRUE(event.Done().value()) << "never recorded";
  device_.fake().Hold(first->native());
  first->Launch([&] { device_.api().fill_bytes(first->native(), buffer.data(), 5, 8); });
  ASSERT_TRUE(event.Record(first->native()).ok());
  EXPECT_FALSE(event.Done().value());
  ASSERT_TRUE(second->WaitFor(event).ok());
  const Ticket copied = second->Launch(
      [&] { device_.api().copy_on_device(second->native(), buffer.data() + 8, buffer.data(), 8); });
  EXPECT_EQ(second->completed(), 0u);
  device_.fake().Release(first->native());
  second->Wait(copied);
  EXPECT_EQ(buffer.data()[15], 5);
  EXPECT_TRUE(event.Done().value());
  EXPECT_TRUE(event.Wait().ok());
}

TEST_F(CudaStreamTest, TimeBetweenEventsNeedsTiming) {
  const auto stream = NewStream();
  CudaEvent begin = CudaEvent::Create(device_.get(), /*timing=*/true).value();
  CudaEvent end = CudaEvent::Create(device_.get(), /*timing=*/true).value();
  const CudaEvent plain = CudaEvent::Create(device_.get()).value();
  EXPECT_FALSE(MillisecondsBetween(*device_.get(), begin, end).ok()) << "never recorded";
  ASSERT_TRUE(begin.Record(stream->native()).ok());
  ASSERT_TRUE(end.Record(stream->native()).ok());
  ASSERT_TRUE(end.Wait().ok());
  EXPECT_GE(MillisecondsBetween(*device_.get(), begin, end).value(), 0);
  EXPECT_FALSE(MillisecondsBetween(*device_.get(), begin, plain).ok());
}

TEST_F(CudaStreamTest, AfterALossEveryTicketCompletesAndTheStatusSaysSo) {
  const CudaBuffer buffer = device_->Alloc(100).value();
  std::atomic<int> told = 0;
  const auto stream = NewStream([&](Ticket) { ++told; });
  const auto other = NewStream();
  device_.fake().Hold(stream->native());
  device_.fake().Hold(other->native());
  other->Launch([&] { device_.api().fill_bytes(other->native(), buffer.data() + 50, 1, 50); });
  Fill(stream.get(), buffer.data(), 10);
  device_.fake().LoseAtLaunch(4);
  device_.fake().Release(stream->native());
  stream->Wait(10);
  other->Wait(1);  // Held, but a lost device holds nothing up.
  EXPECT_EQ(told, 10);
  EXPECT_EQ(device_.fake().run_count(), 3);
  EXPECT_EQ(buffer.data()[2], 2);
  EXPECT_EQ(buffer.data()[3], 0xFF) << "work ran on a lost device";
  EXPECT_TRUE(IsDeviceLost(stream->status()));
  EXPECT_TRUE(IsDeviceLost(other->status()));
  EXPECT_TRUE(device_->lost());
  // Later launches: refused by the device, completed all the same.
  int32_t code = EBB_CUDA_OK;
  const Ticket late = stream->Launch(
      [&] { code = device_.api().fill_bytes(stream->native(), buffer.data(), 1, 1); });
  EXPECT_EQ(code, EBB_CUDA_DEVICE_LOST);
  stream->Wait(late);
  EXPECT_EQ(told, 11);
}

TEST_F(CudaStreamTest, WithoutAnEventATicketStillWaitsForItsWork) {
  const CudaBuffer buffer = device_->Alloc(100).value();
  const auto stream = NewStream([&](Ticket ticket) {
    EXPECT_EQ(buffer.data()[ticket - 1], ticket - 1) << "told before the work was done";
  });
  device_.fake().FailNth(FakeCudaCall::kEventCreate, 1);
  device_.fake().FailNth(FakeCudaCall::kEventRecord, 2);
  Fill(stream.get(), buffer.data(), 100);
  stream->Wait(100);
  EXPECT_EQ(stream->status().code(), absl::StatusCode::kInternal);
  EXPECT_FALSE(device_->lost());
}

TEST_F(CudaStreamTest, AStreamThatCannotBeMadeIsTold) {
  device_.fake().FailNth(FakeCudaCall::kStreamCreate, 1);
  EXPECT_FALSE(CudaStream::Create(device_.get(), {}).ok());
}

TEST_F(CudaStreamTest, CopiesTellTheirSidesApart) {
  const auto stream = NewStream();
  const EbbCudaApi& api = device_.api();
  const CudaBuffer buffer = device_->Alloc(64).value();
  const CudaHostBuffer host = device_->AllocHost(64).value();
  EbbCudaStream* const native = stream->native();
  EXPECT_EQ(api.copy_to_device(native, host.data(), host.data(), 1), EBB_CUDA_INVALID_ARGUMENT);
  EXPECT_EQ(api.copy_to_device(native, buffer.data(), buffer.data(), 1), EBB_CUDA_INVALID_ARGUMENT);
  EXPECT_EQ(api.copy_to_host(native, host.data(), host.data(), 1), EBB_CUDA_INVALID_ARGUMENT);
  EXPECT_EQ(api.copy_on_device(native, buffer.data(), host.data(), 1), EBB_CUDA_INVALID_ARGUMENT);
  EXPECT_EQ(api.fill_bytes(native, buffer.data() + 60, 0, 5), EBB_CUDA_INVALID_ARGUMENT);
  EXPECT_EQ(api.fill_bytes(native, buffer.data(), 0, -1), EBB_CUDA_INVALID_ARGUMENT);
  EXPECT_EQ(api.copy_to_host(native, host.data(), buffer.data(), 64), EBB_CUDA_OK);
  EXPECT_EQ(api.copy_to_host(native, host.data(), buffer.data(), 0), EBB_CUDA_OK);
}

// For the thread sanitizer: two streams, handed over by events, their waiters, and a third thread
// that looks.
TEST_F(CudaStreamTest, TwoStreamsAndAnObserver) {
  constexpr int kRounds = 200;
  const CudaBuffer buffer = device_->Alloc(2 * sizeof(int32_t)).value();
  std::atomic<bool> stop = false;
  const auto first = NewStream(), second = NewStream();
  std::thread observer([&] {
    while (!stop) {
      const Ticket completed = first->completed();  // Read first: both rise.
      EXPECT_LE(completed, first->submitted());
      EXPECT_TRUE(second->status().ok());
    }
  });
  std::vector<CudaEvent> events;
  for (int i = 0; i < 2 * kRounds; ++i) {
    events.push_back(CudaEvent::Create(device_.get()).value());
  }
  for (int round = 0; round < kRounds; ++round) {
    first->Launch([&] { device_.api().fill_bytes(first->native(), buffer.data(), round, 4); });
    ASSERT_TRUE(events[2 * round].Record(first->native()).ok());
    ASSERT_TRUE(second->WaitFor(events[2 * round]).ok());
    second->Launch([&] {
      device_.api().copy_on_device(second->native(), buffer.data() + 4, buffer.data(), 4);
    });
    ASSERT_TRUE(events[2 * round + 1].Record(second->native()).ok());
    ASSERT_TRUE(first->WaitFor(events[2 * round + 1]).ok());
  }
  second->Wait(kRounds);
  stop = true;
  observer.join();
  EXPECT_EQ(buffer.data()[7], static_cast<uint8_t>(kRounds - 1));
}

}  // namespace
}  // namespace ebb::device
