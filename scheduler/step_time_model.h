// StepTimeModel: predicts how long a step takes from its shape, fitted while the engine runs.
//
//   seconds = w0 + w1 * rows + w2 * context tokens
//
// Recursive least squares with exponential forgetting (Haykin, "Adaptive Filter Theory", chapter on
// RLS), so that the weights follow a machine that gets busier. Its error is kept as a metric.
// Thread-compatible; one for each lane.
#pragma once

#include <array>
#include <cstdint>

#include "absl/time/time.h"
#include "engine/step_runner.h"

namespace ebb::scheduler {

class StepTimeModel {
 public:
  StepTimeModel();

  void Observe(const engine::StepShape& shape, absl::Duration duration);

  // Never negative; zero before the first observation.
  absl::Duration Predict(const engine::StepShape& shape) const;

  // Mean of |predicted - observed| / observed, with the same forgetting; 0 before the second
  // observation.
  double relative_error() const { return relative_error_; }

 private:
  static constexpr int kFeatures = 3;
  using Vector = std::array<double, kFeatures>;

  static Vector Features(const engine::StepShape& shape);

  Vector weights_ = {};
  std::array<Vector, kFeatures> covariance_;  // P of the method.
  int64_t observation_count_ = 0;
  double relative_error_ = 0;
};

}  // namespace ebb::scheduler
