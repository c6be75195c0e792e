#include "base/rng.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"

namespace ebb::base {
namespace {

TEST(RngTest, SeedAndIndexFixTheBits) {
  EXPECT_EQ(RandomBits(1, 2), RandomBits(1, 2));
  EXPECT_NE(RandomBits(1, 2), RandomBits(2, 1));
  // SplitMix64's published first output for state 0.
  EXPECT_EQ(Mix64(0), 0xE220A8397B1DCDAFull);
}

TEST(RngTest, UnitIsUniform) {
  constexpr int kDraws = 100'000;
  constexpr int kBins = 10;
  std::vector<int> bins(kBins);
  for (int i = 0; i < kDraws; ++i) {
    const double u = ToUnit(RandomBits(42, static_cast<uint64_t>(i)));
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    ++bins[static_cast<int>(u * kBins)];
  }
  // Five standard deviations of a binomial count.
  const double deviation = 5 * std::sqrt(kDraws * 0.1 * 0.9);
  for (int count : bins) EXPECT_NEAR(count, kDraws / kBins, deviation);
}

TEST(RngTest, BetweenReachesBothEnds) {
  Rng rng(7);
  bool low = false;
  bool high = false;
  for (int i = 0; i < 1000; ++i) {
    const int64_t x = rng.Between(-2, 2);
    ASSERT_GE(x, -2);
    ASSERT_LE(x, 2);
    low |= x == -2;
    high |= x == 2;
  }
  EXPECT_TRUE(low && high);
}

}  // namespace
}  // namespace ebb::base
