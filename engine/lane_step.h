// Staging a lane's step, and reaping it.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "engine/core.h"
#include "engine/windows.h"

namespace ebb::engine {

// While a sequence waits for memory: how often its loop looks whether the device has some again.
inline constexpr absl::Duration kStarvedRetry = absl::Milliseconds(100);

// Reads the device's free bytes, without the mutex, when a boundary of the lane is due and the last
// reading is old: the plan then rests on what the device says now.
void RefreshFreeBytes(EngineCore* core, const Windows& windows, Lane which);

// Adds the sequence's next `token_count` tokens to the batch, marks it as in a step, and keeps it
// in the lane's list. REQUIRES: the mutex is held; its table has room for them.
void StageRows(EngineCore* core, Sequence* sequence, int32_t token_count, Batch* batch);

// The batch is complete: the lane is in flight. REQUIRES: the mutex is held, the batch has rows.
void StageStep(EngineCore* core, const Batch& batch, absl::Time now);

// Takes the lane's completed step, if there is one: tokens go to the sinks, then sequences end, go
// over to decode or go on. True when there was one. REQUIRES: the mutex is not held.
bool ReapStep(EngineCore* core, Windows* windows, Lane which);

}  // namespace ebb::engine
