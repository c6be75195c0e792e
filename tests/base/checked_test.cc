#include "base/checked.h"

#include <cstdint>
#include <limits>

#include "gtest/gtest.h"

namespace ebb::base {
namespace {

constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();

TEST(CheckedTest, KeepsExactResults) {
  EXPECT_EQ((Checked(6) * 7 + 1).value(), 43u);
  EXPECT_EQ((Checked(kMax) + 0).value(), kMax);
  EXPECT_EQ(Checked(33).RoundUp(32).value(), 64u);
  EXPECT_EQ(Checked(64).RoundUp(32).value(), 64u);
}

TEST(CheckedTest, AnOverflowStaysInvalid) {
  EXPECT_FALSE((Checked(kMax) + 1).valid());
  EXPECT_FALSE((Checked(kMax / 2 + 1) * 2).valid());
  EXPECT_FALSE(Checked(kMax - 3).RoundUp(32).valid());
  // Once invalid, multiplying by zero does not make it valid again.
  EXPECT_FALSE(((Checked(kMax) + 1) * 0).valid());
  EXPECT_FALSE((Checked(kMax) + 1).AtMost(kMax));
}

TEST(CheckedDeathTest, ValueOfAnOverflowIsABug) {
  EXPECT_DEATH((Checked(kMax) + 1).value(), "CHECK failed");
}

}  // namespace
}  // namespace ebb::base
