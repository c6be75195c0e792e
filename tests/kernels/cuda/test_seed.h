// The seed of a random test: printed, and replaced by the environment's SEED when that is set.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <iostream>

namespace ebb::kernels::cuda {

inline uint64_t TestSeed(uint64_t fallback) {
  const char* text = std::getenv("SEED");
  const uint64_t seed = text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
  std::cout << "SEED=" << seed << "\n";
  return seed;
}

}  // namespace ebb::kernels::cuda
