// Who gives its blocks up: whether its keys and values are kept elsewhere or computed again, by
// what either is predicted to take; and when those that are kept come back.
//
// All of it under EngineCore::mutex.
#pragma once

#include "engine/core.h"

namespace ebb::engine {

// What it would cost to bring the sequence back after it gave way: seconds where there is a swap
// space, the cheaper of both ways; else tokens to recompute.
double RestoringCost(const EngineCore& core, const Sequence& sequence);

// The sequence gives its blocks back: at once, or once they have been copied. True: at once.
// REQUIRES: it runs, and is not in a step.
bool GiveBlocksUp(EngineCore* core, Sequence* sequence);

// Memory must go by a deadline: whoever is being copied gives its blocks back now, or when the
// piece in flight is done, and is recomputed.
void StopLeaving(EngineCore* core);

// Those of the lane that run and are kept take their blocks, as far as the grant goes, in the one
// order: what the prefix cache has of them is adopted, the copies of the rest begin.
void StartReturns(EngineCore* core, Lane which);
// Blocks that a kept sequence waits for.
inline int64_t BlocksToReturn(const Sequence& sequence) {
  return sequence.table.MissingBlocks(sequence.swap.tokens);
}

}  // namespace ebb::engine
