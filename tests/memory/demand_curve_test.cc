#include "memory/demand_curve.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"

namespace ebb::memory {
namespace {

constexpr int64_t kBlockTokens = 16;

int64_t BlocksOf(int64_t tokens) { return (tokens + kBlockTokens - 1) / kBlockTokens; }

// Of `tokens` tokens, which ends with the same probability at each step.
DemandCurve Geometric(int64_t tokens, int64_t may_make, double hazard) {
  DemandCurve::Growth growth;
  growth.may_make_tokens = may_make;
  for (size_t i = 0; i < growth.survives.size(); ++i) {
    growth.survives[i] = std::pow(1 - hazard, static_cast<double>(DemandCurve::Begins()[i]));
  }
  growth.blocks = [tokens](int64_t steps) { return BlocksOf(tokens + steps); };
  return DemandCurve::Of(growth);
}

TEST(DemandCurveTest, WindowsBeginAtNowAndWiden) {
  const absl::Span<const int64_t> begins = DemandCurve::Begins();
  EXPECT_EQ(begins[0], 0);
  EXPECT_EQ(begins[1], 16);
  for (size_t i = 1; i < begins.size(); ++i) {
    EXPECT_GE(begins[i] - begins[i - 1], 16);
    // No window is longer than an eighth of what lies before it, but for the first ones.
    if (i > 8) {
      EXPECT_LE((begins[i] - begins[i - 1]) * 8, begins[i - 1]);
    }
  }
  EXPECT_GE(begins[begins.size() - 1], 8192);
}

TEST(DemandCurveTest, OneThatSurelyLivesGrowsToWhatItMayMakeAndIsGone) {
  const DemandCurve curve = Geometric(100, 40, 0);
  EXPECT_EQ(curve.mean(0), BlocksOf(116));
  EXPECT_EQ(curve.mean(1), BlocksOf(132));
  EXPECT_EQ(curve.mean(2), BlocksOf(140)) << "cut off at what it may make";
  EXPECT_EQ(curve.mean(3), 0);
  EXPECT_EQ(curve.variance(1), 0);
  EXPECT_EQ(curve.Peak(3), BlocksOf(140));
}

TEST(DemandCurveTest, OneThatMayMakeNothingMoreHoldsWhatItHas) {
  const DemandCurve curve = Geometric(100, 0, 0);
  EXPECT_EQ(curve.mean(0), BlocksOf(100));
  EXPECT_EQ(curve.mean(1), 0);
}

TEST(DemandCurveTest, PeaksOfSequencesThatEndApartDoNotAddUp) {
  // 160 tokens now and over in 16 steps; and one that gets there in 160.
  DemandCurve both = Geometric(160, 16, 0);
  both.Add(Geometric(1, 176, 0));
  EXPECT_EQ(both.Peak(0), BlocksOf(176) + BlocksOf(17));
  EXPECT_LT(both.Peak(0), BlocksOf(176) + BlocksOf(177));
}

TEST(DemandCurveTest, NoDeviationMakesMoreThanAllThatCanBe) {
  const DemandCurve curve = Geometric(10, 1000, 0.01);
  EXPECT_EQ(curve.Peak(1000), BlocksOf(1010));
  EXPECT_LT(curve.Peak(1), BlocksOf(1010));
}

// Drawn at random many times over, the sum of what sequences hold is, at every step, above
// mean + 3 deviations as seldom as it should be, and on average not above the mean.
TEST(DemandCurveTest, BoundsWhatSequencesReallyHold) {
  const char* seed_text = std::getenv("SEED");
  const uint64_t seed = seed_text != nullptr ? std::strtoull(seed_text, nullptr, 10) : 4;
  std::cout << "SEED=" << seed << "\n";
  base::Rng rng(seed);
  constexpr int64_t kSteps = 1024;
  constexpr int kRounds = 400;
  std::vector<int64_t> tokens;
  DemandCurve sum;
  constexpr double kHazard = 0.004;
  for (int i = 0; i < 40; ++i) {
    tokens.push_back(rng.Between(10, 400));
    sum.Add(Geometric(tokens.back(), kSteps, kHazard));
  }
  std::vector<double> mean(kSteps, 0);
  std::vector<int> above(kSteps, 0);
  for (int round = 0; round < kRounds; ++round) {
    std::vector<int64_t> held(kSteps, 0);
    for (const int64_t begin : tokens) {
      const auto ends = static_cast<int64_t>(std::log(1 - rng.Unit()) / std::log(1 - kHazard));
      for (int64_t step = 0; step < std::min(kSteps, ends + 1); ++step) {
        held[static_cast<size_t>(step)] += BlocksOf(begin + step);
      }
    }
    for (size_t step = 0; step < held.size(); ++step) {
      const absl::Span<const int64_t> begins = DemandCurve::Begins();
      const auto window = static_cast<size_t>(
          std::upper_bound(begins.begin(), begins.end(), static_cast<int64_t>(step)) -
          begins.begin() - 1);
      const auto blocks = static_cast<double>(held[step]);
      mean[step] += blocks / kRounds;
      above[step] += blocks > sum.mean(window) + 3 * std::sqrt(sum.variance(window));
      if (round + 1 == kRounds) {
        EXPECT_LE(mean[step], sum.mean(window) * 1.05 + 1) << "step " << step;
        EXPECT_LE(above[step], kRounds / 50) << "step " << step;
      }
    }
  }
}

}  // namespace
}  // namespace ebb::memory
