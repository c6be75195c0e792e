#include "cli/bench/arrivals.h"

#include <cmath>
#include <cstdlib>
#include <random>

#include "gtest/gtest.h"

namespace ebb::cli {
namespace {

uint64_t TestSeed() {
  const char* given = std::getenv("SEED");
  const uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::printf("SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

// A Poisson count lies within 6 standard deviations but for 2 in 10^9 runs.
double Margin(double expected) { return 6 * std::sqrt(expected); }

TEST(ArrivalsTest, PoissonHasItsRateAndExponentialGaps) {
  const double rate = 50;
  const double seconds = 400;
  const auto arrivals = DrawArrivals({rate, rate, absl::Seconds(1)}, absl::Seconds(seconds), {1, 1},
                                     {1, 1}, TestSeed());
  ASSERT_TRUE(arrivals.ok());
  const double count = static_cast<double>(arrivals->size());
  EXPECT_NEAR(count, rate * seconds, Margin(rate * seconds));
  double sum = 0;
  double squares = 0;
  for (size_t i = 1; i < arrivals->size(); ++i) {
    const double gap = absl::ToDoubleSeconds((*arrivals)[i].at - (*arrivals)[i - 1].at);
    ASSERT_GE(gap, 0);
    sum += gap;
    squares += gap * gap;
  }
  const double mean = sum / (count - 1);
  // An exponential's second moment is twice its squared mean; the estimate's relative standard
  // deviation is sqrt(20 / n), since E[x^4] = 24 mean^4.
  EXPECT_NEAR(squares / (count - 1) / (mean * mean), 2, 2 * 6 * std::sqrt(20 / count));
}

TEST(ArrivalsTest, SquareWaveHasBothRates) {
  const RateWave wave = {5, 60, absl::Seconds(4)};
  const auto arrivals = DrawArrivals(wave, absl::Seconds(400), {1, 1}, {1, 1}, TestSeed());
  ASSERT_TRUE(arrivals.ok());
  double low = 0;
  double high = 0;
  for (const Arrival& arrival : *arrivals) {
    (std::fmod(absl::ToDoubleSeconds(arrival.at), 4) < 2 ? low : high) += 1;
  }
  EXPECT_NEAR(low, 5 * 200, Margin(5 * 200));
  EXPECT_NEAR(high, 60 * 200, Margin(60 * 200));
}

TEST(ArrivalsTest, AWaveMayRest) {
  const auto arrivals =
      DrawArrivals({0, 100, absl::Seconds(2)}, absl::Seconds(6), {1, 1}, {1, 1}, TestSeed());
  ASSERT_TRUE(arrivals.ok());
  EXPECT_GT(arrivals->size(), 0u);
  for (const Arrival& arrival : *arrivals) {
    EXPECT_GE(std::fmod(absl::ToDoubleSeconds(arrival.at), 2), 1) << arrival.at;
    EXPECT_LT(arrival.at, absl::Seconds(6));
  }
}

TEST(ArrivalsTest, TheSeedFixesAll) {
  const auto draw = [](uint64_t seed) {
    return *DrawArrivals({20, 20, absl::Seconds(1)}, absl::Seconds(10), {5, 50}, {1, 9}, seed);
  };
  const std::vector<Arrival> a = draw(3);
  const std::vector<Arrival> b = draw(3);
  ASSERT_EQ(a.size(), b.size());
  int64_t shortest = 100, longest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].at, b[i].at);
    EXPECT_EQ(a[i].prompt_tokens, b[i].prompt_tokens);
    shortest = std::min(shortest, a[i].prompt_tokens);
    longest = std::max(longest, a[i].prompt_tokens);
    EXPECT_TRUE(a[i].output_tokens >= 1 && a[i].output_tokens <= 9);
  }
  EXPECT_TRUE(shortest >= 5 && longest <= 50 && longest - shortest > 30);
  EXPECT_NE(draw(4)[0].at, a[0].at);
}

TEST(ArrivalsTest, ImpossibleLoadsAreRefused) {
  EXPECT_FALSE(
      DrawArrivals({1e6, 1e6, absl::Seconds(1)}, absl::Seconds(10), {1, 1}, {1, 1}, 1).ok());
  for (const char* bad : {"", "x", "0", "-1", "5:4", "1:", "1:2:3", "10000001", "1.5"}) {
    if (std::string(bad) == "1:") continue;  // An open range is its single value.
    EXPECT_FALSE(ParseLengthRange(bad, "n").ok()) << bad;
  }
  for (const char* bad : {"", "1:2", "1:2:3:4", "-1:2:3", "1:0:3", "1:2:0", "1:nan:3", "1:2:x"}) {
    EXPECT_FALSE(ParseRateWave(bad, "n").ok()) << bad;
  }
  EXPECT_EQ(ParseLengthRange("64:512", "n")->max, 512);
  EXPECT_EQ(ParseLengthRange("7", "n")->max, 7);
  EXPECT_EQ(ParseRateWave("0.5:8:20", "n")->period, absl::Seconds(20));
}

}  // namespace
}  // namespace ebb::cli
