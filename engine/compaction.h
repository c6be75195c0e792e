// Compaction: blocks move together while their sequences run, so that whole pages can go back.
//
//   under the mutex:   plan moves ─> patch the tables, in the batch too ─> the emptied pages drain
//   on the stream:     [copies][the step, which reads the new places]
//   keeper:            once the step has completed, the pages are unmapped
//
// A step moves the blocks of its own sequences only; one that others have too stays, and its page.
// They have nothing else submitted, nobody may preempt or end them before it is reaped, and the
// stream puts the copies before all that reads them. If the step fails, these sequences end with
// it, so a half-made copy is never read.
#pragma once

#include "engine/core.h"
#include "memory/window_manager.h"

namespace ebb::engine {

// Whether moving blocks of the lane's sequences makes the pages free that the plan lacks, so that
// nobody need be preempted. Never twice in a row without a page gained in between.
// REQUIRES: the mutex is held, no step of the lane is in flight.
bool MovingSuffices(EngineCore* core, Lane which, const memory::WindowPlan& plan);

// Gives the staged step its copies, where pages are wanted back: once in a window, no more bytes
// than memory.compact_bytes_max. REQUIRES: the mutex is held; StageStep was called with the batch.
void AddMoves(EngineCore* core, Batch* batch);

}  // namespace ebb::engine
