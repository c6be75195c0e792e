// The seed of a random test: SEED from the environment to replay one, else the default; printed.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <iostream>

namespace ebb::memory {

inline uint64_t TestSeed(uint64_t otherwise) {
  const char* const given = std::getenv("SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : otherwise;
  std::cout << "SEED=" << seed << "\n";
  return seed;
}

// How many seeds a test runs through, from TestSeed on: SEEDS from the environment for a long run,
// one when only SEED is given, to replay it.
inline int SeedCount(int otherwise) {
  if (const char* const count = std::getenv("SEEDS")) return std::atoi(count);
  return std::getenv("SEED") != nullptr ? 1 : otherwise;
}

}  // namespace ebb::memory
