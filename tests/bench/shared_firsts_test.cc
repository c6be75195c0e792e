// Two real engines over one ledger, on a fake clock: requests of which no two fit.
#include "bench/memory/simulated_machine.h"
#include "bench/memory/step_times.h"
#include "gtest/gtest.h"

namespace ebb::bench {
namespace {

constexpr int64_t kMiB = 1 << 20;
// 8 pages of 256 tokens.
constexpr int64_t kKvBytes = 48 * kMiB;

class SharedFirstsTest : public ::testing::Test {
 protected:
  SharedFirstsTest() {
    options_.division = Division::kElastic;
    options_.kv_bytes = kKvBytes;
    options_.map_time = absl::Milliseconds(1);
  }

  // Of `count` requests to each server, those that were answered in time.
  int Answered(SimulatedMachine::Load load, absl::Duration most) {
    SimulatedMachine machine(options_, &times_);
    machine.Run(load, most);
    int answered = 0;
    for (const int server : {0, 1}) {
      for (const auto& outcome : machine.outcomes(server)) answered += outcome->ok;
    }
    return answered;
  }

  const StepTimes times_;
  SimulatedMachine::Options options_;
};

// Both prompts fit at once, half of the memory each; both answers need a further page and two. A
// server never preempts its first for its own sake: one of them must for the other's.
TEST_F(SharedFirstsTest, TwoThatNeedMoreThanAHalfDoNotWaitForEachOther) {
  SimulatedMachine::Load load;
  load.arrivals[0] = {{absl::ZeroDuration(), 1000, 500}};
  load.arrivals[1] = {{absl::Milliseconds(10), 1000, 500}};
  EXPECT_EQ(Answered(load, absl::Minutes(5)), 2);
}

TEST_F(SharedFirstsTest, ManySuchAreAnsweredInTurn) {
  SimulatedMachine::Load load;
  for (int i = 0; i < 10; ++i) {
    load.arrivals[i % 2].push_back({absl::Milliseconds(10 * i), 1000, 500});
  }
  EXPECT_EQ(Answered(load, absl::Minutes(30)), 10);
}

// A stream of small requests at one server does not keep a large one from running at the other.
TEST_F(SharedFirstsTest, ALargeOneComesToItsTurnBesideManySmallOnes) {
  SimulatedMachine::Load load;
  load.arrivals[0] = {{absl::Seconds(10), 1300, 500}};
  for (int i = 0; i < 200; ++i) {
    load.arrivals[1].push_back({absl::Milliseconds(300 * i), 200, 50});
  }
  EXPECT_EQ(Answered(load, absl::Minutes(10)), 201);
}

}  // namespace
}  // namespace ebb::bench
