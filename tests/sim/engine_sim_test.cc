// The short run of the engine's simulation: 2,000 seeds, and every planted bug found within 300.

#include "tests/sim/engine_sim.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>

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
bool IsFound(Canary canary) {
  const pid_t child = fork();
  if (child == 0) {
    const int nowhere = open("/dev/null", O_WRONLY);
    dup2(nowhere, STDERR_FILENO);
    for (uint64_t seed = 1; seed <= kCanarySeeds; ++seed) {
      if (!RunEngineSim(seed, canary).failure.empty()) _exit(1);
    }
    _exit(0);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

TEST(EngineSimTest, EverySeedHolds) {
  uint64_t first = 1;
  uint64_t count = kSeeds;
  if (const char* seed = std::getenv("SEED"); seed != nullptr) {
    first = std::strtoull(seed, nullptr, 10);
    count = 1;
  }
  int64_t preemptions = 0;
  int64_t tokens = 0;
  int64_t moved_blocks = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE(testing::Message() << "replay with SEED=" << seed);
    const SimReport report = RunEngineSim(seed, Canary::kNone);
    ASSERT_EQ(report.failure, "");
    preemptions += report.preemptions;
    tokens += report.tokens;
    moved_blocks += report.moved_blocks;
  }
  std::cout << "seeds " << first << " to " << first + count - 1 << ": " << tokens << " tokens, "
            << preemptions << " preemptions, " << moved_blocks << " blocks moved\n";
  // A simulation in which nothing is ever preempted or moved would show nothing.
  if (count > 100) {
    EXPECT_GT(preemptions, static_cast<int64_t>(count) / 4);
    EXPECT_GT(moved_blocks, static_cast<int64_t>(count) / 10);
  }
}

TEST(EngineSimTest, TheSameSeedIsTheSameRun) {
  const SimReport once = RunEngineSim(17, Canary::kNone);
  const SimReport again = RunEngineSim(17, Canary::kNone);
  EXPECT_EQ(once.ticks, again.ticks);
  EXPECT_EQ(once.tokens, again.tokens);
  EXPECT_EQ(once.preemptions, again.preemptions);
}

class CanaryTest : public testing::TestWithParam<int> {};

TEST_P(CanaryTest, IsFoundWithinTheShortRun) {
  const Canary canary = static_cast<Canary>(GetParam());
  EXPECT_TRUE(IsFound(canary)) << CanaryName(canary);
}

INSTANTIATE_TEST_SUITE_P(EngineSimTest, CanaryTest, testing::Range(1, kCanaryCount),
                         [](const testing::TestParamInfo<int>& info) {
                           return CanaryName(static_cast<Canary>(info.param));
                         });

}  // namespace
}  // namespace ebb::sim
