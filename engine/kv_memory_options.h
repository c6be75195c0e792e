// What the engine's options say to the KV memory.
#pragma once

#include "engine/options.h"
#include "memory/kv_memory.h"

namespace ebb::engine {

// All but the workspaces, which are the runner's.
memory::KvMemory::Options KvMemoryOptionsFrom(const LocalEngineOptions& options);

}  // namespace ebb::engine
