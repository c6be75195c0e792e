// What the engine's views say, as metrics. Asking for a view never waits for a step.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/engine.h"
#include "server/metrics/families.h"

namespace ebb::server {

void AddLoad(const engine::LoadView& load, Families* out);
void AddLengths(const engine::LengthScores& lengths, Families* out);
void AddLanes(const std::vector<engine::LaneView>& lanes, Families* out);
void AddMemory(const engine::MemoryView& memory, Families* out);
void AddPrefixCache(const memory::PrefixCacheTotals& totals, Families* out);
void AddSwap(const engine::SwapView& swap, Families* out);
// The last window of each lane, and what came of those before it.
void AddWindows(const std::vector<engine::WindowView>& windows,
                const std::vector<engine::LaneView>& lanes, int64_t block_bytes, Families* out);

}  // namespace ebb::server
