#include "cli/bench/percentile.h"

#include <cstdlib>
#include <random>

#include "base/rng.h"
#include "gtest/gtest.h"

namespace ebb::cli {
namespace {

// By its definition: tries each value and counts.
double NaivePercentile(const std::vector<double>& values, double percent) {
  double best = 0;
  bool found = false;
  for (double candidate : values) {
    size_t at_most = 0;
    for (double value : values) at_most += value <= candidate;
    const bool enough =
        100 * static_cast<double>(at_most) >= percent * static_cast<double>(values.size());
    if (enough && (!found || candidate < best)) {
      best = candidate;
      found = true;
    }
  }
  return best;
}

TEST(PercentileTest, EqualsTheNaiveOne) {
  const char* given = std::getenv("SEED");
  const uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::printf("SEED=%llu\n", static_cast<unsigned long long>(seed));
  base::Rng rng(seed);
  for (int round = 0; round < 500; ++round) {
    std::vector<double> values(static_cast<size_t>(rng.Between(1, 120)));
    for (double& value : values) value = static_cast<double>(rng.Between(0, 30));  // With ties.
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    for (double percent : {0.1, 1.0, 25.0, 50.0, 90.0, 99.0, 100.0}) {
      ASSERT_EQ(Percentile(sorted, percent), NaivePercentile(values, percent))
          << values.size() << " values, " << percent;
    }
  }
}

TEST(PercentileTest, DistributionOfKnownValues) {
  std::vector<double> values;
  for (int i = 100; i >= 1; --i) values.push_back(i);
  const Distribution d = Distribute(values);
  EXPECT_EQ(d.count, 100u);
  EXPECT_NEAR(d.mean, 50.5, 1e-12);
  EXPECT_EQ(d.p50, 50);
  EXPECT_EQ(d.p90, 90);
  EXPECT_EQ(d.p99, 99);
  EXPECT_EQ(d.max, 100);
  EXPECT_EQ(Distribute({}).count, 0u);
  EXPECT_EQ(Distribute({7}).p99, 7);
}

}  // namespace
}  // namespace ebb::cli
