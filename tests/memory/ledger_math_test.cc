#include "memory/ledger_math.h"

#include <algorithm>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "tests/memory/seed.h"

namespace ebb::memory {
namespace {

using Sizes = std::vector<int64_t>;

LedgerParty Party(int64_t floor, int64_t weight, int64_t wanted, int64_t lease = 0) {
  LedgerParty party;
  party.floor_bytes = floor;
  party.weight = weight;
  party.ceiling_bytes = 1000;
  party.wanted_bytes = wanted;
  party.lease_bytes = lease;
  return party;
}

TEST(LedgerMathTest, WithoutScarcityEverybodyGetsWhatItWants) {
  const LedgerDivision division = DivideCapacity(100, {Party(0, 1, 70, 80), Party(50, 9, 10)});
  EXPECT_EQ(division.share_bytes, (Sizes{70, 10}));
  EXPECT_EQ(division.keep_bytes, (Sizes{80, 0}));
  EXPECT_EQ(division.shortage_bytes, 0);
}

TEST(LedgerMathTest, FloorsFirstThenWeights) {
  EXPECT_EQ(DivideCapacity(100, {Party(40, 1, 900), Party(0, 2, 900)}).share_bytes,
            (Sizes{60, 40}));
  // What one leaves goes to the others by their weights.
  EXPECT_EQ(DivideCapacity(100, {Party(0, 5, 10), Party(0, 1, 900), Party(0, 2, 900)}).share_bytes,
            (Sizes{10, 30, 60}));
}

TEST(LedgerMathTest, FloorsThatDoNotFitShrinkInProportion) {
  EXPECT_EQ(DivideCapacity(100, {Party(100, 1, 900), Party(300, 1, 900)}).share_bytes,
            (Sizes{25, 75}));
}

LedgerParty WithFirst(LedgerParty party, int64_t bytes, int64_t rank) {
  party.first_bytes = bytes;
  party.first_rank = rank;
  return party;
}

TEST(LedgerMathTest, TheEldestFirstGoesBeforeWeightsAndAfterFloors) {
  // Each first needs more than a half: by weight alone both would wait for ever.
  const LedgerParty elder = WithFirst(Party(0, 1, 900, 50), 70, 1);
  const LedgerParty younger = WithFirst(Party(0, 1, 900, 50), 80, 2);
  LedgerDivision division = DivideCapacity(100, {younger, elder});
  EXPECT_EQ(division.share_bytes, (Sizes{15, 85}));
  EXPECT_EQ(division.keep_bytes[0], 15);
  EXPECT_EQ(division.lacking_first, 1);
  // It has what it needs: nobody's first lacks any more.
  LedgerParty served = elder;
  served.lease_bytes = 70;
  EXPECT_EQ(DivideCapacity(100, {younger, served}).lacking_first, -1);
  // A floor leaves it no room: the next one's turn.
  const LedgerParty promised = Party(60, 1, 900);
  division = DivideCapacity(100, {promised, elder, WithFirst(Party(0, 1, 900), 30, 5)});
  EXPECT_EQ(division.share_bytes[0], 60 + 3);
  EXPECT_EQ(division.share_bytes[2], 30 + 3);
  EXPECT_EQ(division.lacking_first, 2);
}

TEST(LedgerMathTest, AStoppedServersFirstWaits) {
  LedgerParty stopped = WithFirst(Party(0, 1, 900, 10), 70, 1);
  stopped.silent = true;
  const LedgerDivision division =
      DivideCapacity(100, {stopped, WithFirst(Party(0, 1, 900, 0), 60, 2)});
  EXPECT_EQ(division.share_bytes, (Sizes{10, 90}));
  EXPECT_EQ(division.lacking_first, 1);
}

TEST(LedgerMathTest, NobodyGetsMoreThanItsCeiling) {
  LedgerParty small = Party(0, 9, 900);
  small.ceiling_bytes = 20;
  EXPECT_EQ(DivideCapacity(100, {small, Party(0, 1, 900)}).share_bytes, (Sizes{20, 80}));
}

TEST(LedgerMathTest, WhoeverIsAboveItsShareGivesBackWhatIsShort) {
  const LedgerDivision division =
      DivideCapacity(100, {Party(0, 1, 900, 90), Party(0, 1, 30, 0), Party(0, 1, 0, 0)});
  EXPECT_EQ(division.share_bytes, (Sizes{70, 30, 0}));
  EXPECT_EQ(division.shortage_bytes, 20);  // 10 are free.
  EXPECT_EQ(division.keep_bytes, (Sizes{70, 0, 0}));
}

TEST(LedgerMathTest, APartOfAUnitIsNoShortage) {
  LedgerParty coarse = Party(0, 1, 900, 40);
  coarse.unit_bytes = 20;
  EXPECT_EQ(DivideCapacity(100, {coarse, Party(0, 1, 900, 60)}).keep_bytes, (Sizes{40, 60}));
}

TEST(LedgerMathTest, ASilentPartyKeepsItsLeaseAndTheOthersDivideTheRest) {
  LedgerParty silent = Party(90, 9, 900, 40);
  silent.silent = true;
  const LedgerDivision division =
      DivideCapacity(100, {silent, Party(0, 1, 900, 60), Party(0, 1, 900, 0)});
  EXPECT_EQ(division.share_bytes, (Sizes{40, 30, 30}));
  EXPECT_EQ(division.keep_bytes, (Sizes{40, 30, 0}));
}

LedgerParty RandomParty(base::Rng* rng, int64_t capacity) {
  LedgerParty party;
  party.floor_bytes = rng->Between(-5, capacity);
  party.weight = rng->Between(0, 5);
  party.ceiling_bytes = rng->Between(-5, 2 * capacity);
  party.wanted_bytes = rng->Between(-5, 2 * capacity);
  party.lease_bytes = rng->Between(-5, capacity);
  party.unit_bytes = rng->Between(0, 1 + capacity / 10);
  party.silent = rng->Chance(0.2);
  return party;
}

// What must hold for any numbers, those of a damaged file among them.
void ExpectRules(int64_t capacity, const std::vector<LedgerParty>& parties) {
  const LedgerDivision division = DivideCapacity(capacity, parties);
  int64_t sum = 0, silent = 0, floors = 0, hungry = 0, leases = 0, kept = 0;
  for (size_t i = 0; i < parties.size(); ++i) {
    const LedgerParty& party = parties[i];
    const int64_t share = division.share_bytes[i];
    const int64_t lease = std::max<int64_t>(0, party.lease_bytes);
    const int64_t demand = std::max<int64_t>(0, std::min(party.wanted_bytes, party.ceiling_bytes));
    leases += lease;
    kept += division.keep_bytes[i];
    EXPECT_LE(division.keep_bytes[i], lease);
    EXPECT_GE(division.keep_bytes[i], std::min(lease, share));
    if (party.silent) {
      silent += lease;
      EXPECT_EQ(division.keep_bytes[i], lease);
      continue;
    }
    EXPECT_GE(share, 0);
    EXPECT_LE(share, demand);
    sum += share;
    floors += std::clamp<int64_t>(party.floor_bytes, 0, demand);
    hungry += share < demand;
  }
  const int64_t rest = std::max<int64_t>(0, capacity - silent);
  EXPECT_LE(sum, rest);
  // Nothing is left over while somebody is hungry, but for what rounding leaves.
  if (hungry > 0) {
    EXPECT_GE(sum, rest - static_cast<int64_t>(parties.size()));
  }
  if (floors <= rest) {
    for (size_t i = 0; i < parties.size(); ++i) {
      const int64_t demand =
          std::max<int64_t>(0, std::min(parties[i].wanted_bytes, parties[i].ceiling_bytes));
      if (parties[i].silent) continue;
      EXPECT_GE(division.share_bytes[i], std::clamp<int64_t>(parties[i].floor_bytes, 0, demand));
    }
  }
  if (division.shortage_bytes == 0) {
    EXPECT_EQ(kept, leases);
  }
}

TEST(LedgerMathTest, EveryRuleHoldsForAnyNumbers) {
  const uint64_t seed = TestSeed(1);
  for (int run = 0; run < SeedCount(20000); ++run) {
    SCOPED_TRACE(testing::Message() << "SEED=" << seed + run);
    base::Rng rng(seed + run);
    const int64_t capacity = rng.Between(-1, rng.Chance(0.5) ? 100 : int64_t{1} << 47);
    std::vector<LedgerParty> parties;
    for (int64_t i = rng.Between(0, 6); i > 0; --i) {
      parties.push_back(RandomParty(&rng, std::max<int64_t>(1, capacity)));
    }
    ExpectRules(capacity, parties);
    if (testing::Test::HasFailure()) return;
  }
}

// Without floors, two hungry parties get by weight, to the byte.
TEST(LedgerMathTest, HungryPartiesWithoutFloorsGetByWeight) {
  const uint64_t seed = TestSeed(1);
  for (int run = 0; run < SeedCount(2000); ++run) {
    base::Rng rng(seed + run);
    const int64_t capacity = rng.Between(0, int64_t{1} << 47);
    const int64_t a = rng.Between(1, 100), b = rng.Between(1, 100);
    LedgerParty first, second;
    first.weight = a;
    second.weight = b;
    first.ceiling_bytes = first.wanted_bytes = second.ceiling_bytes = second.wanted_bytes =
        int64_t{1} << 48;
    const LedgerDivision division = DivideCapacity(capacity, {first, second});
    const auto part = static_cast<int64_t>(static_cast<__int128>(capacity) * a / (a + b));
    ASSERT_NEAR(static_cast<double>(division.share_bytes[0]), static_cast<double>(part), 1)
        << "SEED=" << seed + run;
  }
}

}  // namespace
}  // namespace ebb::memory
