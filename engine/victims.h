// Who gives way when memory must go.
//
//   the order     first   second   third   fourth      the shortest tail that can give enough is
//                 keeps      |       [ tail    ]       searched, and within it the victims that
//                                                      ReleasePlan prefers: nobody gives way for
//                                                      one that stands behind
//
// Pure but for reading the core; under EngineCore::mutex.
#pragma once

#include <vector>

#include "engine/block_census.h"
#include "engine/core.h"
#include "memory/release_plan.h"

namespace ebb::engine {

// Whom the search may take. The first of the order stays unless the last one says otherwise.
enum class VictimScope {
  kIdle,      // Those without a step in flight.
  kInStep,    // Also those that can yield only when their step is reaped.
  kFirstToo,  // Also the first, at the highest price.
};

struct Victims {
  // False: not even all of them give what is needed; `sequences` are then no more than it takes to
  // give the most that can be given.
  bool possible = false;
  std::vector<Sequence*> sequences;
};

// Those that give way already count as gone. Immune ones go only when the others do not do.
Victims PickVictims(EngineCore* core, memory::ReleaseNeed need, VictimScope scope);

// What the sequence would free, and what it would grow by in the coming window. `part` is its count
// among those of the order.
memory::ReleaseCandidate CandidateOf(EngineCore* core, const Sequence& sequence,
                                     const BlockCensus::Part& part);

}  // namespace ebb::engine
