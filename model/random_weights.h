// Random weights that a seed and an index fix: the same on the host and in device memory
// (EbbCudaApi::fill_random), so that a random model needs no file.
#pragma once

#include <bit>
#include <cstdint>

#include "base/rng.h"

namespace ebb::model {

// Element `index` of the stream that `seed` names: scale times one of 2^24 evenly spaced numbers in
// [-1, 1), rounded once to float32.
inline float RandomWeight(uint64_t seed, uint64_t index, float scale) {
  // All but the last multiplication are exact.
  const float unit = static_cast<float>(base::RandomBits(seed, index) >> 40) * 0x1p-24f;
  return scale * (2.0f * unit - 1.0f);
}

// The same, rounded to bf16 (nearest, ties to even). REQUIRES: `scale` is finite.
inline uint16_t RandomWeightBf16(uint64_t seed, uint64_t index, float scale) {
  const uint32_t bits = std::bit_cast<uint32_t>(RandomWeight(seed, index, scale));
  return static_cast<uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

}  // namespace ebb::model
