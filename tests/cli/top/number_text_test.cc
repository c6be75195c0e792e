#include "cli/top/number_text.h"

#include <limits>
#include <string>

#include "gtest/gtest.h"

namespace ebb::cli {
namespace {

constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(NumberTextTest, CountsAreShort) {
  EXPECT_EQ(CountText(std::nullopt), "-");
  EXPECT_EQ(CountText(0), "0");
  EXPECT_EQ(CountText(99'999), "99999");
  EXPECT_EQ(CountText(100'000), "100k");
  EXPECT_EQ(CountText(999'499), "999k");
  EXPECT_EQ(CountText(999'500), "1.0M");
  EXPECT_EQ(CountText(-12'345'678), "-12.3M");
  EXPECT_EQ(CountText(kMost), "9.2E");
  EXPECT_EQ(CountText(std::numeric_limits<int64_t>::min()), "-9.2E");
}

TEST(NumberTextTest, Rates) {
  EXPECT_EQ(RateText(std::nullopt), "-");
  EXPECT_EQ(RateText(0), "0.0/s");
  EXPECT_EQ(RateText(9.94), "9.9/s");
  EXPECT_EQ(RateText(9.96), "10/s");
  EXPECT_EQ(RateText(1234.5), "1234/s");
  EXPECT_EQ(RateText(1e18), "1.0E/s");
  EXPECT_EQ(RateText(kInfinity), "-");
  EXPECT_EQ(RateText(std::numeric_limits<double>::quiet_NaN()), "-");
}

TEST(NumberTextTest, SizesNeverHaveFourDigits) {
  EXPECT_EQ(SizeText(std::nullopt), "-");
  EXPECT_EQ(SizeText(0), "0 bytes");
  EXPECT_EQ(SizeText(999), "999 bytes");
  EXPECT_EQ(SizeText(1000), "1.0 KiB");
  EXPECT_EQ(SizeText(98.25 * (1 << 20)), "98.2 MiB");
  EXPECT_EQ(SizeText(384 << 20), "384 MiB");
  EXPECT_EQ(SizeText(1023 << 20), "1.0 GiB");
  EXPECT_EQ(SizeText(static_cast<double>(kMost)), "8.0 EiB");
  EXPECT_EQ(SizeText(-5), "-5 bytes");
}

TEST(NumberTextTest, Durations) {
  EXPECT_EQ(DurationText(std::nullopt), "-");
  EXPECT_EQ(DurationText(0.0352), "35 ms");
  EXPECT_EQ(DurationText(0.9996), "1.0 s");
  EXPECT_EQ(DurationText(42.4), "42 s");
  EXPECT_EQ(DurationText(120), "2 min");
  EXPECT_EQ(DurationText(2 * 3600), "2.0 h");
  EXPECT_EQ(DurationText(400 * 86400), "400 d");
  EXPECT_EQ(DurationText(1e15), "11.6G d");
  EXPECT_EQ(DurationText(kInfinity), "-");
}

}  // namespace
}  // namespace ebb::cli
