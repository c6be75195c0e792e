#include "server/drain.h"

#include <signal.h>
#include <unistd.h>

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
  EXPECT_EQ(drain.WaitForRequest(), absl::Seconds(5));
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

TEST(SignalThreadTest, TheFirstSignalDrainsTheSecondHurries) {
  BlockSignals();  // Before the first thread.
  DrainSwitch drain;
  SignalThread signals(&drain, absl::Seconds(7));
  kill(getpid(), SIGTERM);
  EXPECT_EQ(drain.WaitForRequest(), absl::Seconds(7));
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
