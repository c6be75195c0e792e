#include "memory/copy_rate.h"

#include "gtest/gtest.h"

namespace ebb::memory {
namespace {

TEST(CopyRateTest, BeginsWithThePrior) {
  const CopyRate rate(1e9);
  EXPECT_EQ(rate.Predict(0), absl::ZeroDuration());
  EXPECT_NEAR(absl::ToDoubleSeconds(rate.Predict(2'000'000'000)), 2, 1e-6);
}

TEST(CopyRateTest, FollowsWhatIsSeen) {
  CopyRate rate(1e9);
  for (int i = 0; i < 5; ++i) rate.Observe(8 << 20, absl::Milliseconds(100));
  EXPECT_NEAR(rate.bytes_per_s(), (8 << 20) / 0.1, (8 << 20) / 0.1 * 0.05);
  // The disk is slower now: what was before is forgotten.
  for (int i = 0; i < 100; ++i) rate.Observe(8 << 20, absl::Milliseconds(400));
  EXPECT_NEAR(rate.bytes_per_s(), (8 << 20) / 0.4, (8 << 20) / 0.4 * 0.05);
}

TEST(CopyRateTest, NonsenseTeachesNothing) {
  CopyRate rate(1e9);
  rate.Observe(0, absl::Seconds(1));
  rate.Observe(100, absl::ZeroDuration());
  rate.Observe(100, absl::Hours(2));
  EXPECT_DOUBLE_EQ(rate.bytes_per_s(), 1e9);
}

}  // namespace
}  // namespace ebb::memory
