// bf16 and random values for the tests of CUDA operations, written apart from the kernels' own.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"

namespace ebb::kernels::cuda {

// Half a unit in the last place of bf16, relative: what rounding a result to bf16 may cost.
inline constexpr double kBf16Rounding = 1.0 / 256;

inline double Bf16ToDouble(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// To nearest, ties to even. REQUIRES: not NaN.
inline uint16_t DoubleToBf16(double value) {
  // Through the neighbours, in double: no second rounding on the way.
  const uint32_t bits = std::bit_cast<uint32_t>(static_cast<float>(value));
  uint16_t best = static_cast<uint16_t>(bits >> 16);
  for (const int step : {-1, 1}) {
    const auto other = static_cast<uint16_t>((bits >> 16) + step);
    const double near = std::abs(Bf16ToDouble(best) - value);
    const double far = std::abs(Bf16ToDouble(other) - value);
    if (far < near || (far == near && other % 2 == 0)) best = other;
  }
  return best;
}

// Roughly normal, from the sum of uniform numbers.
inline double RandomNormal(base::Rng& rng) {
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += rng.Unit();
  return sum;
}

inline std::vector<uint16_t> RandomBf16(base::Rng& rng, size_t count, double scale) {
  std::vector<uint16_t> values(count);
  for (uint16_t& value : values) value = DoubleToBf16(RandomNormal(rng) * scale);
  return values;
}

inline std::vector<float> RandomFloats(base::Rng& rng, size_t count, double scale) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(RandomNormal(rng) * scale);
  return values;
}

}  // namespace ebb::kernels::cuda
