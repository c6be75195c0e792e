#include "model/model_config.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace ebb::model {
namespace {

double Scaled(double frequency, const RopeScaling& scaling) {
  switch (scaling.type) {
    case RopeScaling::Type::kNone:
    case RopeScaling::Type::kFactors:
      return frequency;
    case RopeScaling::Type::kLinear:
      return frequency / scaling.factor;
    case RopeScaling::Type::kLlama3:
      break;
  }
  // Turns within the original context, from where all is divided (0) to where nothing is (1).
  const double turns = scaling.original_context_tokens * frequency / (2 * std::numbers::pi);
  const double ramp = (turns - scaling.low_frequency_factor) /
                      (scaling.high_frequency_factor - scaling.low_frequency_factor);
  const double kept = std::clamp(ramp, 0.0, 1.0);
  return (1 - kept) * frequency / scaling.factor + kept * frequency;
}

}  // namespace

std::vector<float> RopeFrequencies(double base, int32_t pair_count, const RopeScaling& scaling) {
  std::vector<float> frequencies(static_cast<size_t>(pair_count));
  for (int32_t i = 0; i < pair_count; ++i) {
    const double frequency = std::pow(base, -static_cast<double>(i) / pair_count);
    frequencies[i] = static_cast<float>(Scaled(frequency, scaling));
  }
  return frequencies;
}

}  // namespace ebb::model
