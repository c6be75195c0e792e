#include "server/drain.h"

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/server/wait_until.h"

namespace ebb::server {
namespace {

TEST(DrainSwitchTest, HurriesOnlyForAShorterGrace) {
  DrainSwitch drain;
  EXPECT_FALSE(drain.requested());
  drain.Request(absl::Seconds(5));
  EXPECT_TRUE(drain.requested());
  EXPECT_EQ(drain.WaitForRequest(), absl::ZeroDuration());
  EXPECT_EQ(drain.WaitOutDelay(), absl::Seconds(5));
  base::Mutex mutex;
  std::vector<absl::Duration> hurries;
  std::thread server([&] {
    drain.ServeHurries([&](absl::Duration grace) {
      base::MutexLock lock(&mutex);
      hurries.push_back(grace);
    });
  });
  const auto count = [&] {
    base::MutexLock lock(&mutex);
    return hurries.size();
  };
  drain.Request(absl::Seconds(9));
  drain.Request(absl::Seconds(2));
  ASSERT_TRUE(tests::WaitUntil([&] { return count() == 1; }));
  drain.Request(absl::ZeroDuration());
  ASSERT_TRUE(tests::WaitUntil([&] { return count() == 2; }));
  drain.Stop();
  server.join();
  EXPECT_EQ(hurries, (std::vector<absl::Duration>{absl::Seconds(2), absl::ZeroDuration()}));
}

TEST(DrainSwitchTest, ADelayIsWaitedOut) {
  DrainSwitch drain;
  drain.Request(absl::Seconds(5), absl::Milliseconds(20));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(drain.WaitForRequest(), absl::Milliseconds(20));
  EXPECT_EQ(drain.WaitOutDelay(), absl::Seconds(5));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(20));
}

// Each request that follows may make it shorter, but none longer.
TEST(DrainSwitchTest, ADelayIsCutShort) {
  DrainSwitch drain;
  drain.Request(absl::Seconds(5), absl::Hours(1));
  EXPECT_EQ(drain.WaitForRequest(), absl::Hours(1));
  std::thread second([&] {
    drain.Request(absl::Seconds(9), absl::Hours(2));
    drain.Request(absl::Seconds(9), absl::ZeroDuration());
  });
  EXPECT_EQ(drain.WaitOutDelay(), absl::Seconds(5));
  second.join();
}

TEST(SignalThreadTest, ASecondSignalEndsTheDelayAndTheGrace) {
  BlockSignals();
  DrainSwitch drain;
  SignalThread signals(&drain, absl::Seconds(7), absl::Hours(1));
  kill(getpid(), SIGTERM);
  EXPECT_EQ(drain.WaitForRequest(), absl::Hours(1));
  kill(getpid(), SIGTERM);
  EXPECT_EQ(drain.WaitOutDelay(), absl::ZeroDuration());
}

TEST(SignalThreadTest, TheFirstSignalDrainsTheSecondHurries) {
  BlockSignals();  // Before the first thread.
  DrainSwitch drain;
  SignalThread signals(&drain, absl::Seconds(7), absl::Milliseconds(1));
  kill(getpid(), SIGTERM);
  EXPECT_EQ(drain.WaitForRequest(), absl::Milliseconds(1));
  EXPECT_EQ(drain.WaitOutDelay(), absl::Seconds(7));
  absl::Duration hurry = absl::InfiniteDuration();
  std::thread server([&] {
    drain.ServeHurries([&](absl::Duration grace) {
      hurry = grace;
      drain.Stop();
    });
  });
  kill(getpid(), SIGINT);
  server.join();
  EXPECT_EQ(hurry, absl::ZeroDuration());
}

}  // namespace
}  // namespace ebb::server
