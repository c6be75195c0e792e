// Several servers over one capacity, with a stop or a death at every step of the protocol.
#include "tests/memory/ledger_sim.h"

#include "gtest/gtest.h"
#include "tests/memory/seed.h"

namespace ebb::memory {
namespace {

constexpr int kSteps = 400;
constexpr int kSeeds = 2000;
constexpr int kCanarySeeds = 10000;  // The rarest, a blind sweep, shows in one of some thousands.

TEST(LedgerSimTest, EveryRuleHoldsAfterEveryStepAndNothingIsLost) {
  const uint64_t seed = TestSeed(1);
  LedgerSim::Counts sum;
  for (int run = 0; run < SeedCount(kSeeds); ++run) {
    LedgerSim sim(seed + run, LedgerCanary::kNone);
    ASSERT_EQ(sim.Run(kSteps), "") << "SEED=" << seed + run;
    sum.kills += sim.counts().kills;
    sum.stops += sim.counts().stops;
    sum.thefts += sim.counts().thefts;
    sum.misses += sim.counts().misses;
    sum.give_backs += sim.counts().give_backs;
    for (size_t i = 0; i < sum.kills_by_word.size(); ++i) {
      sum.kills_by_word[i] += sim.counts().kills_by_word[i];
    }
  }
  if (SeedCount(kSeeds) < kSeeds) return;
  // The runs must reach what they are there for: each kind of step is somebody's last.
  EXPECT_GT(sum.kills, 1000);
  EXPECT_GT(sum.stops, 1000);
  EXPECT_GT(sum.thefts, 1000);
  EXPECT_GT(sum.misses, 100);
  EXPECT_GT(sum.give_backs, 1000);
  for (const LedgerWord word : {LedgerWord::kLease, LedgerWord::kOpen, LedgerWord::kHeldBytes,
                                LedgerWord::kWantedBytes, LedgerWord::kRevision}) {
    EXPECT_GE(sum.kills_by_word[static_cast<int>(word)], 100) << static_cast<int>(word);
  }
  for (int at = kLedgerSlotWords; at < kLedgerSlotWords + 4; ++at) {
    EXPECT_GE(sum.kills_by_word[at], 100) << at;
  }
}

class CanaryTest : public ::testing::TestWithParam<LedgerCanary> {};

TEST_P(CanaryTest, IsFound) {
  for (uint64_t seed = 1; seed <= kCanarySeeds; ++seed) {
    LedgerSim sim(seed, GetParam());
    if (!sim.Run(kSteps).empty()) return;
  }
  ADD_FAILURE() << "the planted bug was not found";
}

INSTANTIATE_TEST_SUITE_P(LedgerSimTest, CanaryTest,
                         ::testing::Values(LedgerCanary::kStoppedCountAsDead,
                                           LedgerCanary::kOldLooks, LedgerCanary::kBlindSweep,
                                           LedgerCanary::kLocksStay, LedgerCanary::kUnchecked));

}  // namespace
}  // namespace ebb::memory
