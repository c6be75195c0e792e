// The names that vLLM gives its metrics, for gateways and benchmarks that know no others.
#pragma once

#include <cstdint>
#include <string>

#include "engine/engine.h"
#include "server/metrics/families.h"

namespace ebb::server {

struct VllmAliasOptions {
  std::string model_name;
  int64_t block_bytes = 0;
};

// Adds, for the families that `families` has, those of vLLM that say the same.
void AddVllmAliases(const VllmAliasOptions& options, const engine::MemoryView& memory,
                    Families* families);

}  // namespace ebb::server
