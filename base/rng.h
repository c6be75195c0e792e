// Random numbers that a seed and an index fix: the same pair gives the same number everywhere.
//
// The mixer is SplitMix64's finalizer (Steele, Lea, Flood, "Fast splittable pseudorandom number
// generators", OOPSLA 2014).
#pragma once

#include <cstdint>

#include "base/check.h"

namespace ebb::base {

inline uint64_t Mix64(uint64_t x) {
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

// 64 random bits for element `index` of the stream that `seed` names.
inline uint64_t RandomBits(uint64_t seed, uint64_t index) {
  return Mix64(Mix64(seed) ^ Mix64(index ^ 0xD1B54A32D192ED03ull));
}

// Uniform in [0, 1), 53 bits.
inline double ToUnit(uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1.0p-53; }

// A sequence of numbers from one seed. Thread-compatible.
class Rng {
 public:
  explicit Rng(uint64_t seed) : seed_(seed) {}

  uint64_t Bits() { return RandomBits(seed_, next_++); }
  double Unit() { return ToUnit(Bits()); }
  // Uniform in [low, high]. REQUIRES: low <= high.
  int64_t Between(int64_t low, int64_t high) {
    CHECK_LE(low, high);
    const uint64_t span = static_cast<uint64_t>(high) - static_cast<uint64_t>(low) + 1;
    return span == 0 ? static_cast<int64_t>(Bits())
                     : static_cast<int64_t>(static_cast<uint64_t>(low) + Bits() % span);
  }
  bool Chance(double probability) { return Unit() < probability; }

 private:
  uint64_t seed_;
  uint64_t next_ = 0;
};

}  // namespace ebb::base
