#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <vector>

#include "device/stream_fake.h"
#include "device/stream_host.h"

namespace ebb::device {
namespace {

TEST(HostStreamTest, WorkRunsInTheOrderOfItsLaunches) {
  std::vector<int> ran;
  HostStream stream;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(stream.Launch([&ran, i] { ran.push_back(i); }), static_cast<Ticket>(i + 1));
  }
  stream.Wait(100);
  ASSERT_EQ(ran.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(ran[i], i);
  EXPECT_EQ(stream.submitted(), 100u);
  EXPECT_EQ(stream.completed(), 100u);
}

TEST(HostStreamTest, CompletionIsTrueWhenItIsReportedAndReportedWhenWaitReturns) {
  std::atomic<Ticket> reported = 0;
  std::atomic<int> done = 0;
  HostStream* self = nullptr;
  HostStream stream([&](Ticket ticket) {
    EXPECT_EQ(static_cast<Ticket>(done.load()), ticket);
    EXPECT_GE(self->completed(), ticket);
    reported = ticket;
  });
  self = &stream;
  for (Ticket ticket = 1; ticket <= 50; ++ticket) {
    stream.Launch([&done] { ++done; });
    stream.Wait(ticket);
    EXPECT_EQ(reported.load(), ticket);
  }
}

TEST(HostStreamTest, WorkIsDestroyedBeforeItCountsAsCompleted) {
  auto held = std::make_shared<int>(1);
  HostStream stream;
  const std::weak_ptr<int> watch = held;
  stream.Wait(stream.Launch([held = std::move(held)] {}));
  EXPECT_TRUE(watch.expired());
}

TEST(HostStreamTest, DestructionRunsWhatIsQueued) {
  int ran = 0;
  {
    HostStream stream;
    for (int i = 0; i < 20; ++i) stream.Launch([&ran] { ++ran; });
  }
  EXPECT_EQ(ran, 20);
}

TEST(FakeStreamTest, NothingRunsUntilTheTestSaysSo) {
  std::vector<int> ran;
  std::vector<Ticket> reported;
  FakeStream stream([&reported](Ticket ticket) { reported.push_back(ticket); });
  for (int i = 0; i < 4; ++i) stream.Launch([&ran, i] { ran.push_back(i); });
  EXPECT_TRUE(ran.empty());
  EXPECT_EQ(stream.submitted(), 4u);
  EXPECT_EQ(stream.completed(), 0u);
  EXPECT_TRUE(stream.RunNext());
  EXPECT_EQ(ran, std::vector<int>({0}));
  stream.Wait(3);
  EXPECT_EQ(ran, std::vector<int>({0, 1, 2}));
  EXPECT_EQ(reported, std::vector<Ticket>({1, 2, 3}));
  stream.Launch([&] { stream.Launch([&ran] { ran.push_back(9); }); });
  stream.RunAll();
  EXPECT_EQ(ran, std::vector<int>({0, 1, 2, 3, 9}));
  EXPECT_FALSE(stream.RunNext());
}

}  // namespace
}  // namespace ebb::device
