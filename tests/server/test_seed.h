// The seed of a random test: the environment's SEED, else a new one; printed either way.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace ebb::tests {

inline uint64_t TestSeed() {
  const char* const given = std::getenv("SEED");
  const uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : uint64_t{std::random_device{}()};
  std::printf("SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

}  // namespace ebb::tests
