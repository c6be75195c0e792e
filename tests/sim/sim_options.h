// The settings of a simulated engine, drawn from its seed.
#pragma once

#include <cstdint>

#include "base/rng.h"
#include "engine/kv_copier.h"
#include "engine/options.h"

namespace ebb::sim {

inline constexpr int32_t kBlockTokens = 4;
inline constexpr int32_t kLayers = 2;
inline constexpr int64_t kGranularity = 4096;

struct SimOptions {
  engine::LocalEngineOptions engine;
  int64_t ceiling_pages = 0;
  bool shrinks_eagerly = false;
  engine::CopierTraits swap;
};

// `rng` is the simulation's own; what was added later draws from generators of its own, so that
// seeds stay the runs they were.
SimOptions MakeSimOptions(uint64_t seed, engine::Queues queues, base::Rng* rng);

}  // namespace ebb::sim
