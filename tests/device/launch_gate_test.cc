#include "device/launch_gate.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace ebb::device {
namespace {

TEST(LaunchGateTest, LaunchesRunSideBySide) {
  LaunchGate gate;
  gate.BeginLaunch();
  gate.BeginLaunch();
  gate.EndLaunch();
  gate.EndLaunch();
  gate.Close();
  gate.Open();
}

TEST(LaunchGateTest, CloseWaitsForWhatRunsAndHoldsNewLaunchesBack) {
  LaunchGate gate;
  std::atomic<bool> closed = false;
  gate.BeginLaunch();
  std::thread keeper([&] {
    gate.Close();
    closed = true;
    gate.Open();
  });
  EXPECT_FALSE(closed);
  gate.EndLaunch();
  // It comes back only once the gate has opened again, or before it closes.
  gate.BeginLaunch();
  gate.EndLaunch();
  keeper.join();
  EXPECT_TRUE(closed);
}

TEST(LaunchGateTest, NoEditEverMeetsALaunch) {
  constexpr int kRounds = 2000;
  LaunchGate gate;
  std::atomic<int> launches = 0;
  std::atomic<int> edits = 0;
  std::atomic<int> collisions = 0;
  std::vector<std::thread> loops;
  for (int loop = 0; loop < 3; ++loop) {
    loops.emplace_back([&] {
      for (int i = 0; i < kRounds; ++i) {
        gate.BeginLaunch();
        ++launches;
        if (edits != 0) ++collisions;
        --launches;
        gate.EndLaunch();
      }
    });
  }
  for (int i = 0; i < kRounds; ++i) {
    gate.Close();
    ++edits;
    if (launches != 0) ++collisions;
    --edits;
    gate.Open();
  }
  for (std::thread& loop : loops) loop.join();
  EXPECT_EQ(collisions, 0);
}

}  // namespace
}  // namespace ebb::device
