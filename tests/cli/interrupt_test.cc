#include "cli/interrupt.h"

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace ebb::cli {
namespace {

TEST(InterruptTest, CallsEveryScopeOnce) {
  Interrupt interrupt;
  int first = 0;
  int second = 0;
  const Interrupt::Scope a(&interrupt, [&] { ++first; });
  const Interrupt::Scope b(&interrupt, [&] { ++second; });
  EXPECT_FALSE(interrupt.triggered());
  EXPECT_TRUE(interrupt.Trigger());
  EXPECT_TRUE(interrupt.triggered());
  EXPECT_FALSE(interrupt.Trigger());
  EXPECT_EQ(first, 1);
  EXPECT_EQ(second, 1);
}

TEST(InterruptTest, AnEndedScopeIsNotCalled) {
  Interrupt interrupt;
  int calls = 0;
  {
    const Interrupt::Scope scope(&interrupt, [&] { ++calls; });
  }
  EXPECT_FALSE(interrupt.Trigger());  // Nothing was there to cancel.
  EXPECT_EQ(calls, 0);
}

TEST(InterruptTest, AScopeThatComesLateIsCalledAtOnce) {
  Interrupt interrupt;
  interrupt.Trigger();
  int calls = 0;
  const Interrupt::Scope scope(&interrupt, [&] { ++calls; });
  EXPECT_EQ(calls, 1);
}

TEST(InterruptTest, WaitsForTheTriggerOrTheTime) {
  Interrupt interrupt;
  EXPECT_FALSE(interrupt.WaitFor(-absl::Seconds(1)));
  EXPECT_FALSE(interrupt.WaitFor(absl::Milliseconds(1)));
  std::thread presser([&] { interrupt.Trigger(); });
  EXPECT_TRUE(interrupt.WaitFor(absl::Minutes(5)));
  presser.join();
  EXPECT_TRUE(interrupt.WaitFor(absl::ZeroDuration()));
}

// Whatever the order of threads: each scope that lives across the trigger is called exactly once,
// and none is called after its end.
TEST(InterruptTest, ScopesAndTriggerInParallel) {
  for (int round = 0; round < 200; ++round) {
    Interrupt interrupt;
    std::atomic<int> go = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&] {
        ++go;
        while (go < 4) std::this_thread::yield();
        bool alive = true;
        int calls = 0;
        {
          const Interrupt::Scope scope(&interrupt, [&] {
            EXPECT_TRUE(alive);
            ++calls;
          });
          while (!interrupt.triggered()) std::this_thread::yield();
        }
        alive = false;
        EXPECT_EQ(calls, 1);
      });
    }
    ++go;
    while (go < 4) std::this_thread::yield();
    interrupt.Trigger();
    for (std::thread& thread : threads) thread.join();
  }
}

}  // namespace
}  // namespace ebb::cli
