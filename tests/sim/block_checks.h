// What must hold of a simulated engine's sequences and blocks at any time.
#pragma once

#include <string>

#include "engine/core.h"
#include "memory/kv_memory.h"

namespace ebb::sim {

// What is broken; empty: nothing. REQUIRES: the core's mutex is held.
std::string CheckBlocks(const engine::EngineCore& core, memory::KvMemory& memory);
// Likewise of the swap space (tests/memory/memory_checker.h), and of what its sequences are at.
std::string CheckSlots(const engine::EngineCore& core);

}  // namespace ebb::sim
