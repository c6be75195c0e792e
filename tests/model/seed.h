// The seed of a random test: SEED from the environment to replay one, else the default.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>

namespace ebb::model {

inline uint64_t TestSeed(uint64_t default_seed) {
  const char* text = std::getenv("SEED");
  const uint64_t seed = text == nullptr ? default_seed : std::stoull(text);
  std::cout << "SEED=" << seed << "\n";
  return seed;
}

}  // namespace ebb::model
