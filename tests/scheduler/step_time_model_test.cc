#include "scheduler/step_time_model.h"

#include "base/rng.h"
#include "gtest/gtest.h"

namespace ebb::scheduler {
namespace {

engine::StepShape Shape(int32_t rows, int64_t context) {
  engine::StepShape shape;
  shape.row_count = rows;
  shape.context_tokens = context;
  return shape;
}

// 2 ms, 0.1 ms a row, 0.1 ms for 1,000 positions.
absl::Duration TrueTime(const engine::StepShape& shape) {
  return absl::Seconds(2e-3 + 1e-4 * shape.row_count +
                       1e-7 * static_cast<double>(shape.context_tokens));
}

TEST(StepTimeModelTest, KnowsNothingAtFirst) {
  StepTimeModel model;
  EXPECT_EQ(model.Predict(Shape(10, 100)), absl::ZeroDuration());
}

TEST(StepTimeModelTest, LearnsALinearMachine) {
  StepTimeModel model;
  base::Rng rng(3);
  for (int i = 0; i < 200; ++i) {
    const engine::StepShape shape =
        Shape(static_cast<int32_t>(rng.Between(1, 512)), rng.Between(0, 100'000));
    model.Observe(shape, TrueTime(shape));
  }
  // Noise-free and linear: only the prior's pull is left, far below 1 %.
  const engine::StepShape shape = Shape(256, 50'000);
  EXPECT_NEAR(absl::ToDoubleSeconds(model.Predict(shape)), absl::ToDoubleSeconds(TrueTime(shape)),
              1e-2 * absl::ToDoubleSeconds(TrueTime(shape)));
  // The first, wild predictions have decayed to 0.98^200 = 2 %.
  EXPECT_LT(model.relative_error(), 0.05);
}

TEST(StepTimeModelTest, FollowsAMachineThatBecameThreeTimesSlower) {
  StepTimeModel model;
  base::Rng rng(4);
  for (int i = 0; i < 600; ++i) {
    const engine::StepShape shape =
        Shape(static_cast<int32_t>(rng.Between(1, 512)), rng.Between(0, 100'000));
    model.Observe(shape, TrueTime(shape) * (i < 200 ? 1 : 3));
  }
  const engine::StepShape shape = Shape(256, 50'000);
  // 0.98^400 = 0.0003 of the old weight is left.
  EXPECT_NEAR(absl::FDivDuration(model.Predict(shape), TrueTime(shape)), 3.0, 0.05);
}

TEST(StepTimeModelTest, TheSameShapeForHoursDoesNotUpsetIt) {
  StepTimeModel model;
  for (int i = 0; i < 100'000; ++i) model.Observe(Shape(4, 1000), absl::Milliseconds(5));
  EXPECT_NEAR(absl::FDivDuration(model.Predict(Shape(4, 1000)), absl::Milliseconds(5)), 1.0, 1e-3);
  model.Observe(Shape(8, 2000), absl::Milliseconds(8));
  const double seconds = absl::ToDoubleSeconds(model.Predict(Shape(6, 1500)));
  EXPECT_GT(seconds, 0.004);
  EXPECT_LT(seconds, 0.009);
}

}  // namespace
}  // namespace ebb::scheduler
