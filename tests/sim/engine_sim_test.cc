// The short run of the engine's simulation: 2,000 seeds with separate queues and as many with one,
// and every planted bug found within 300 of each.

#include "tests/sim/engine_sim.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace ebb::sim {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t kSeeds = 300;  // Sanitizers are ten times slower.
#else
constexpr uint64_t kSeeds = 2000;
#endif
constexpr uint64_t kCanarySeeds = 300;

// Whether a child process that plays seeds with this bug planted stops at one of them, by a broken
// invariant or by a CHECK.
bool IsFound(Canary canary, engine::Queues queues) {
  const pid_t child = fork();
  if (child == 0) {
    const int nowhere = open("/dev/null", O_WRONLY);
    dup2(nowhere, STDERR_FILENO);
    for (uint64_t seed = 1; seed <= kCanarySeeds; ++seed) {
      if (!RunEngineSim(seed, canary, queues).failure.empty()) _exit(1);
    }
    _exit(0);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

const char* QueuesName(engine::Queues queues) {
  return queues == engine::Queues::kOne ? "one" : "separate";
}

class EngineSimTest : public testing::TestWithParam<engine::Queues> {};

TEST_P(EngineSimTest, EverySeedHolds) {
  uint64_t first = 1;
  uint64_t count = kSeeds;
  if (const char* seed = std::getenv("SEED"); seed != nullptr) {
    first = std::strtoull(seed, nullptr, 10);
    count = 1;
  }
  int64_t preemptions = 0;
  int64_t tokens = 0;
  int64_t moved_blocks = 0;
  int64_t copied_blocks = 0;
  int64_t found_tokens = 0;
  int64_t evicted_blocks = 0;
  engine::SwapView swap;
  FaultCounts faults = {};
  for (uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE(testing::Message() << "replay with SEED=" << seed);
    const SimReport report = RunEngineSim(seed, Canary::kNone, GetParam());
    ASSERT_EQ(report.failure, "");
    preemptions += report.preemptions;
    tokens += report.tokens;
    moved_blocks += report.moved_blocks;
    copied_blocks += report.copied_blocks;
    found_tokens += report.found_tokens;
    evicted_blocks += report.evicted_blocks;
    swap.out_sequences_total += report.swap.out_sequences_total;
    swap.in_sequences_total += report.swap.in_sequences_total;
    for (size_t i = 0; i < engine::kSwapFallbackCount; ++i) {
      swap.fallbacks[i] += report.swap.fallbacks[i];
    }
    for (int fault = 0; fault < kFaultCount; ++fault) faults[fault] += report.faults[fault];
  }
  std::cout << "seeds " << first << " to " << first + count - 1 << ": " << tokens << " tokens, "
            << preemptions << " preemptions, " << moved_blocks << " blocks moved, " << copied_blocks
            << " copied, " << found_tokens << " tokens found, " << evicted_blocks
            << " blocks evicted, " << swap.out_sequences_total << " swapped out, "
            << swap.in_sequences_total << " in; recomputed instead " << swap.fallbacks[0]
            << " full, " << swap.fallbacks[1] << " failed, " << swap.fallbacks[2] << " limit\n";
  // A simulation in which nothing is ever preempted or moved would show nothing.
  if (count > 100) {
    EXPECT_GT(preemptions, static_cast<int64_t>(count) / 4);
    EXPECT_GT(moved_blocks, static_cast<int64_t>(count) / 10);
    EXPECT_GT(copied_blocks, static_cast<int64_t>(count) / 2);
    EXPECT_GT(found_tokens, static_cast<int64_t>(count));
    EXPECT_GT(evicted_blocks, static_cast<int64_t>(count) / 4);
    EXPECT_GT(swap.out_sequences_total, static_cast<int64_t>(count) / 40);
    EXPECT_GT(swap.in_sequences_total, static_cast<int64_t>(count) / 80);
  }
  if (count >= 2000) {
    for (int fault = 0; fault < kFaultCount; ++fault) {
      // Only one in a few preemptions is a swap.
      const bool of_swap = fault >= static_cast<int>(Fault::kSwapOutFails);
      EXPECT_GE(faults[fault], of_swap ? 10 : 100) << FaultName(static_cast<Fault>(fault));
    }
    for (const int64_t fallbacks : swap.fallbacks) EXPECT_GE(fallbacks, 10);
  }
}

TEST_P(EngineSimTest, TheSameSeedIsTheSameRun) {
  const SimReport once = RunEngineSim(17, Canary::kNone, GetParam());
  const SimReport again = RunEngineSim(17, Canary::kNone, GetParam());
  EXPECT_EQ(once.ticks, again.ticks);
  EXPECT_EQ(once.tokens, again.tokens);
  EXPECT_EQ(once.preemptions, again.preemptions);
}

constexpr engine::Queues kBoth[] = {engine::Queues::kSeparate, engine::Queues::kOne};

INSTANTIATE_TEST_SUITE_P(Queues, EngineSimTest, testing::ValuesIn(kBoth),
                         [](const testing::TestParamInfo<engine::Queues>& info) {
                           return QueuesName(info.param);
                         });

class CanaryTest : public testing::TestWithParam<std::tuple<int, engine::Queues>> {};

TEST_P(CanaryTest, IsFoundWithinTheShortRun) {
  const auto [number, queues] = GetParam();
  const Canary canary = static_cast<Canary>(number);
  EXPECT_TRUE(IsFound(canary, queues)) << CanaryName(canary);
}

INSTANTIATE_TEST_SUITE_P(EngineSimTest, CanaryTest,
                         testing::Combine(testing::Range(1, kCanaryCount),
                                          testing::ValuesIn(kBoth)),
                         [](const testing::TestParamInfo<std::tuple<int, engine::Queues>>& info) {
                           return absl::StrCat(
                               CanaryName(static_cast<Canary>(std::get<0>(info.param))), "_",
                               QueuesName(std::get<1>(info.param)));
                         });

}  // namespace
}  // namespace ebb::sim
