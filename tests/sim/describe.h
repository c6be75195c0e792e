// How a simulated engine stands, for a failure's text.
#pragma once

#include <string>

#include "engine/local_engine.h"
#include "memory/kv_memory.h"

namespace ebb::sim {

// REQUIRES: the engine's mutex is not held.
std::string Describe(engine::LocalEngine* engine, memory::KvMemory& memory);

}  // namespace ebb::sim
