// The engine replayed from a seed: fake clock, fake device, fake model, and a random actor that
// moves in each tick.
//
//   tick: one of  submit | cancel | prefill | decode | keeper | a stream's next step | time |
//                 new limit | failing device | a thief of memory | a failing step | a lost device
//   after each tick: the invariants; after the last: everything ends, everything comes back, and
//   every answer is that of a quiet world.
//
// A broken invariant is returned as text; a CHECK inside the engine ends the process.
#pragma once

#include <cstdint>
#include <string>

#include "engine/engine.h"
#include "engine/options.h"
#include "tests/sim/faults.h"

namespace ebb::sim {

// Bugs planted through the interfaces, to show that the simulation would find them.
enum class Canary {
  kNone,
  kWrongSlot,          // The runner swaps two blocks of a table now and then.
  kStaleTable,         // The runner keeps using a sequence's earlier table.
  kForgottenSeed,      // A resumed sequence's random numbers start anew.
  kIgnoredBans,        // Banned ids are chosen all the same.
  kStaleAdjustments,   // Penalties are those of the request's first token.
  kCrossedResults,     // Two sequences get each other's tokens.
  kLostStep,           // A completed step is never reported.
  kLostPromptLogprob,  // One prompt log-probability is missing.
  kEarlyUnmap,         // The device unmaps a page in use.
  kLeakedMemory,       // Released memory does not come back.
  kUnopenedPage,       // SetAccess says yes and does nothing.
  kStarvingPolicy,     // Admission forgets those with an odd place in the order.
  kGreedyChunks,       // Chunks larger than the blocks have room for.
  kDeafCancel,         // Every other cancel does not arrive.
  kDoubleFinish,       // A sink is told of the end twice.
  kRepeatedToken,      // A sink is told a token twice.
  kHiddenLoss,         // A lost device looks like steps that fail.
  kUnpatchedTable,     // A block has moved, and a table still names its old place.
  kForgottenCopy,      // A block has moved, but for its contents.
  kDoneAbandoned,      // An abandoned step that chooses no token counts as done.
  kDeafAbandon,        // No step is ever abandoned.
  kForgottenFork,      // A block that answers share is not copied before it is written.
  kSharedWrite,        // It is copied, and the old one is written.
  kShortSwap,          // What is swapped lacks its last block.
  kCrossedSwap,        // Swapped blocks come back in one another's places.
};
inline constexpr int kCanaryCount = 26;
const char* CanaryName(Canary canary);

struct SimReport {
  std::string failure;  // Empty: all went well.
  int64_t ticks = 0;
  int64_t requests = 0;
  int64_t preemptions = 0;
  int64_t tokens = 0;
  int64_t moved_blocks = 0;
  int64_t copied_blocks = 0;   // Of answers that had shared them.
  int64_t found_tokens = 0;    // In the prefix cache.
  int64_t evicted_blocks = 0;  // Of it.
  int64_t deferred = 0;  // Limits that were awaited and not reached: the first request needs more.
  int64_t forced = 0;    // Requests that force ended.
  engine::SwapView swap;
  FaultCounts faults = {};
};

SimReport RunEngineSim(uint64_t seed, Canary canary, engine::Queues queues);

}  // namespace ebb::sim
