#include "scheduler/step_time_model.h"

#include <algorithm>
#include <cmath>

namespace ebb::scheduler {
namespace {

// Half of an observation's weight is gone after 34 steps.
constexpr double kForgetting = 0.98;
// Before anything is seen the weights may be anything: a large covariance.
constexpr double kInitialCovariance = 1e4;
// Bounds the covariance while the same shape comes again and again (else P grows without end in
// the directions that are not excited, and the first new shape throws the weights far off).
constexpr double kCovarianceMax = 1e6;

}  // namespace

StepTimeModel::StepTimeModel() {
  for (int i = 0; i < kFeatures; ++i) {
    covariance_[i].fill(0);
    covariance_[i][i] = kInitialCovariance;
  }
}

// Scaled so that all features are of the order of 1 for common steps.
StepTimeModel::Vector StepTimeModel::Features(const engine::StepShape& shape) {
  return {1.0, static_cast<double>(shape.row_count) / 64.0,
          static_cast<double>(shape.context_tokens) / 65536.0};
}

void StepTimeModel::Observe(const engine::StepShape& shape, absl::Duration duration) {
  const double observed = absl::ToDoubleSeconds(duration);
  if (!std::isfinite(observed) || observed < 0) return;
  const Vector x = Features(shape);
  if (observation_count_ > 0 && observed > 0) {
    const double predicted = absl::ToDoubleSeconds(Predict(shape));
    const double error = std::abs(predicted - observed) / observed;
    relative_error_ = kForgetting * relative_error_ + (1 - kForgetting) * error;
  }
  Vector px = {};
  double denominator = kForgetting;
  double predicted = 0;
  for (int i = 0; i < kFeatures; ++i) {
    for (int j = 0; j < kFeatures; ++j) px[i] += covariance_[i][j] * x[j];
    denominator += x[i] * px[i];
    predicted += weights_[i] * x[i];
  }
  const double error = observed - predicted;
  for (int i = 0; i < kFeatures; ++i) weights_[i] += px[i] / denominator * error;
  double largest = 0;
  for (int i = 0; i < kFeatures; ++i) {
    for (int j = 0; j < kFeatures; ++j) {
      covariance_[i][j] = (covariance_[i][j] - px[i] * px[j] / denominator) / kForgetting;
    }
    largest = std::max(largest, covariance_[i][i]);
  }
  if (largest > kCovarianceMax) {
    for (Vector& row : covariance_) {
      for (double& value : row) value *= kCovarianceMax / largest;
    }
  }
  ++observation_count_;
}

absl::Duration StepTimeModel::Predict(const engine::StepShape& shape) const {
  const Vector x = Features(shape);
  double seconds = 0;
  for (int i = 0; i < kFeatures; ++i) seconds += weights_[i] * x[i];
  return absl::Seconds(std::max(seconds, 0.0));
}

}  // namespace ebb::scheduler
