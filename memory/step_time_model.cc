#include "memory/step_time_model.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace ebb::memory {
namespace {

// Scales of the terms, so that their coefficients have like sizes: seconds each.
constexpr double kRowsScale = 32;
constexpr double kContextScale = 4096;
constexpr double kSecondsMin = 1e-6;
constexpr double kSecondsMax = 3600;
// Variance of a step's relative error, as one expects it: 10 %.
constexpr double kNoise = 0.01;
// How far the prior may be off: a factor of about 10.
constexpr double kPriorSpread = 100;

std::array<double, 3> Terms(const StepShape& step) {
  return {1.0, static_cast<double>(step.rows) / kRowsScale,
          static_cast<double>(step.context_tokens) / kContextScale};
}

double Clamp(double seconds) {
  return std::isfinite(seconds) ? std::clamp(seconds, kSecondsMin, kSecondsMax) : kSecondsMax;
}

}  // namespace

StepTimeModel::StepTimeModel(Options options) : options_(options) {
  CHECK(options_.decay > 0 && options_.decay <= 1);
  CHECK(options_.prior_seconds_per_step > 0 && options_.prior_seconds_per_row > 0);
  const double per_rows = options_.prior_seconds_per_row * kRowsScale;
  for (Line& line : lines_) {
    line.coefficients = {options_.prior_seconds_per_step, per_rows, 0};
    const std::array<double, kTerms> spread = {options_.prior_seconds_per_step, per_rows, per_rows};
    for (int i = 0; i < kTerms; ++i) line.covariance[i][i] = spread[i] * spread[i] * kPriorSpread;
  }
}

absl::Duration StepTimeModel::Predict(const StepShape& step) const {
  return absl::Seconds(PredictSeconds(step));
}

void StepTimeModel::Observe(const StepShape& step, absl::Duration took) {
  const double seconds = absl::ToDoubleSeconds(took);
  if (!(seconds > 0 && seconds < kSecondsMax)) return;
  const double miss = std::abs(PredictSeconds(step) - seconds) / seconds;
  error_weight_ = error_weight_ * options_.decay + 1;
  error_ += (miss - error_) / error_weight_;
  ++step_count_;

  Line& line = lines_[step.other_lane_busy ? 1 : 0];
  // A line's first step: start from the other line, which is nearer than the prior.
  if (line.steps == 0) line.coefficients = LineFor(step.other_lane_busy).coefficients;
  ++line.steps;
  // Divided by the seconds, so that a step of 1 ms counts as much as one of 1 s.
  std::array<double, kTerms> x = Terms(step);
  for (double& term : x) term /= seconds;
  std::array<double, kTerms> px = {};
  double residual = 1;
  double scale = options_.decay * kNoise;
  for (int i = 0; i < kTerms; ++i) {
    for (int j = 0; j < kTerms; ++j) px[i] += line.covariance[i][j] * x[j];
    residual -= line.coefficients[i] * x[i];
    scale += x[i] * px[i];
  }
  for (int i = 0; i < kTerms; ++i) {
    line.coefficients[i] += px[i] / scale * residual;
    for (int j = 0; j < kTerms; ++j) line.covariance[i][j] -= px[i] * px[j] / scale;
  }
  // Forgetting; but a term that steps tell nothing about would grow without bound.
  const double per_rows = options_.prior_seconds_per_row * kRowsScale;
  const double most = std::max(options_.prior_seconds_per_step, per_rows);
  for (int i = 0; i < kTerms; ++i) {
    if (line.covariance[i][i] / options_.decay > most * most * kPriorSpread) return;
  }
  for (auto& row : line.covariance) {
    for (double& entry : row) entry /= options_.decay;
  }
}

double StepTimeModel::PredictSeconds(const StepShape& step) const {
  const Line& line = LineFor(step.other_lane_busy);
  const std::array<double, kTerms> x = Terms(step);
  double seconds = 0;
  double positive_seconds = 0;
  for (int i = 0; i < kTerms; ++i) {
    seconds += line.coefficients[i] * x[i];
    positive_seconds += std::max(0.0, line.coefficients[i] * x[i]);
  }
  // Steps of like shapes leave the split between the terms open, and one may fall below 0. That
  // does not matter near those shapes; far from them it must not cancel the others out.
  return Clamp(std::max(seconds, positive_seconds / 4));
}

const StepTimeModel::Line& StepTimeModel::LineFor(bool busy) const {
  const Line& own = lines_[busy ? 1 : 0];
  const Line& other = lines_[busy ? 0 : 1];
  return own.steps == 0 && other.steps > 0 ? other : own;
}

}  // namespace ebb::memory
