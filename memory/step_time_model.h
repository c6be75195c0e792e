// StepTimeModel: seconds of a step, learned from the steps that ran.
//
//   seconds = c0 + c1 * rows + c2 * context_tokens     one such line while the other lane works,
//                                                      another while it does not; in a lane that
//                                                      takes both, for steps that mix prompts and
//                                                      answers and for those that do not
//
// Fitted online by recursive least squares with a forgetting factor (Ljung, "System
// Identification", 2nd ed., section 11.2), each step weighted by 1 / seconds so that relative
// errors count. A line with few steps leans on the other line, and both lean on a prior.
#pragma once

#include <array>
#include <cstdint>

#include "absl/time/time.h"

namespace ebb::memory {

// What a step's time depends on.
struct StepShape {
  int64_t rows = 0;              // Tokens that go through the model.
  int64_t context_tokens = 0;    // Sum over rows of the tokens that each attends to.
  bool other_lane_busy = false;  // Or, in a lane that takes both: it mixes prompts and answers.
};

// Thread-compatible: guarded by the engine's mutex. One for each lane.
class StepTimeModel {
 public:
  struct Options {
    // Before anything is known. Rough is fine: a few steps outweigh it.
    double prior_seconds_per_step = 5e-3;
    double prior_seconds_per_row = 1e-3;
    double decay = 0.98;  // A step's weight after each later one. In (0, 1].
  };
  StepTimeModel() : StepTimeModel(Options()) {}
  explicit StepTimeModel(Options options);

  // Never negative, never zero, finite.
  absl::Duration Predict(const StepShape& step) const;
  // A step ran and took `took`. Ignored unless 0 < took < 1 h.
  void Observe(const StepShape& step, absl::Duration took);

  // Decayed mean of |predicted - took| / took over the steps, each predicted before it was learned.
  // 0 before the first step.
  double relative_error() const { return error_; }
  int64_t step_count() const { return step_count_; }

 private:
  static constexpr int kTerms = 3;
  struct Line {
    std::array<double, kTerms> coefficients = {};
    std::array<std::array<double, kTerms>, kTerms> covariance = {};
    int64_t steps = 0;
  };

  double PredictSeconds(const StepShape& step) const;
  const Line& LineFor(bool busy) const;

  Options options_;
  std::array<Line, 2> lines_;  // [other_lane_busy]
  double error_ = 0;
  double error_weight_ = 0;
  int64_t step_count_ = 0;
};

}  // namespace ebb::memory
