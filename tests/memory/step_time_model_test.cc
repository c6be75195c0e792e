#include "memory/step_time_model.h"

#include <gtest/gtest.h>

#include <functional>

#include "base/rng.h"
#include "tests/memory/seed.h"

namespace ebb::memory {
namespace {

StepShape RandomStep(base::Rng* rng, bool busy) {
  const int64_t rows = rng->Between(1, 64);
  return {rows, rows * rng->Between(1, 2000), busy};
}

double Truth(const StepShape& step) {
  return (0.004 + 0.0006 * step.rows + 2e-8 * step.context_tokens) *
         (step.other_lane_busy ? 1.7 : 1);
}

double Seconds(absl::Duration d) { return absl::ToDoubleSeconds(d); }

TEST(StepTimeModelTest, ColdItPredictsThePrior) {
  const StepTimeModel model;
  EXPECT_NEAR(Seconds(model.Predict({10, 0, false})), 5e-3 + 10e-3, 1e-9);
  EXPECT_GT(model.Predict({0, 0, true}), absl::ZeroDuration());
  EXPECT_EQ(model.relative_error(), 0);
  EXPECT_EQ(model.step_count(), 0);
}

// A plant that is linear, so what remains after fitting is the noise alone.
TEST(StepTimeModelTest, LearnsBothLinesFromNoisySteps) {
  const uint64_t seed = TestSeed(1);
  for (int run = 0; run < SeedCount(10); ++run) {
    SCOPED_TRACE(testing::Message() << "SEED=" << seed + run);
    base::Rng rng(seed + run);
    StepTimeModel model;
    for (int i = 0; i < 400; ++i) {
      const StepShape step = RandomStep(&rng, rng.Chance(0.4));
      const double noise = 1 + 0.05 * (2 * rng.Unit() - 1);
      model.Observe(step, absl::Seconds(Truth(step) * noise));
    }
    for (int i = 0; i < 50; ++i) {
      const StepShape step = RandomStep(&rng, i % 2 == 0);
      // Noise of 5 % uniform, averaged over the 50 steps that the decay of 0.98 remembers.
      EXPECT_NEAR(Seconds(model.Predict(step)) / Truth(step), 1, 0.06);
    }
    // The mean of |uniform(-5 %, 5 %)| is 2.5 %.
    EXPECT_GT(model.relative_error(), 0.01);
    EXPECT_LT(model.relative_error(), 0.05);
  }
}

TEST(StepTimeModelTest, FollowsAMachineThatGetsSlower) {
  base::Rng rng(TestSeed(3));
  StepTimeModel model;
  for (int i = 0; i < 2000; ++i) {
    const StepShape step = RandomStep(&rng, false);
    model.Observe(step, absl::Seconds(Truth(step)));
  }
  const StepShape step{32, 32000, false};
  EXPECT_NEAR(Seconds(model.Predict(step)) / Truth(step), 1, 0.01);
  for (int i = 0; i < 300; ++i) {
    const StepShape other = RandomStep(&rng, false);
    model.Observe(other, absl::Seconds(3 * Truth(other)));
  }
  EXPECT_NEAR(Seconds(model.Predict(step)) / Truth(step), 3, 0.05);
}

TEST(StepTimeModelTest, OneLineLendsToTheOtherUntilThatHasSteps) {
  StepTimeModel model;
  for (int i = 0; i < 100; ++i) model.Observe({1, 100, false}, absl::Milliseconds(2));
  EXPECT_NEAR(Seconds(model.Predict({1, 100, true})), 2e-3, 1e-4);
  for (int i = 0; i < 100; ++i) model.Observe({1, 100, true}, absl::Milliseconds(6));
  EXPECT_NEAR(Seconds(model.Predict({1, 100, true})), 6e-3, 3e-4);
  EXPECT_NEAR(Seconds(model.Predict({1, 100, false})), 2e-3, 1e-4);
}

TEST(StepTimeModelTest, StaysSaneWithStepsOfOneShapeOnlyAndWithNonsense) {
  StepTimeModel model;
  for (int i = 0; i < 100000; ++i) model.Observe({4, 4000, false}, absl::Milliseconds(10));
  EXPECT_NEAR(Seconds(model.Predict({4, 4000, false})), 10e-3, 1e-4);
  for (const absl::Duration took :
       {absl::ZeroDuration(), absl::Seconds(-1), absl::InfiniteDuration(), absl::Hours(2)}) {
    model.Observe({4, 4000, false}, took);
  }
  EXPECT_EQ(model.step_count(), 100000);
  // Never seen, but finite, positive, and more than one row costs.
  const absl::Duration many = model.Predict({512, 512 * 300, false});
  EXPECT_GT(many, absl::Milliseconds(10));
  EXPECT_LT(many, absl::Minutes(1));
  for (int i = 0; i < 1000; ++i) {
    model.Observe({i % 7, i * 1000, i % 2 == 0},
                  i % 3 == 0 ? absl::Nanoseconds(1) : absl::Minutes(9));
    const absl::Duration any = model.Predict({i % 5, i, i % 3 == 0});
    ASSERT_GT(any, absl::ZeroDuration());
    ASSERT_LE(any, absl::Hours(1));
  }
}

}  // namespace
}  // namespace ebb::memory
