// What block caches of a given size would find of a trace's prompts: no engine, no pages, and
// requests that take no time.
#pragma once

#include <cstdint>

#include "absl/time/time.h"
#include "bench/memory/prefix_trace.h"

namespace ebb::bench {

// Where blocks are wanted, the one goes whose time is up first: `idle` after its last use, and, if
// hits count, so much later again each time their number doubles (memory/prefix_cache.h). Of a
// chain the last goes first. With `idle` 0: plain recency.
struct IdealRule {
  absl::Duration idle;
  bool counts_hits = true;
  bool expires = true;  // Else nothing goes until the room is wanted.
};

// The share of all prompts' tokens that it finds. Blocks of answers take room, as in the engine.
double IdealHitRate(const PrefixTrace& trace, int64_t blocks, const IdealRule& rule);

// The most that any cache of the size could find: the block goes whose next use is farthest away
// (Belady, "A study of replacement algorithms for a virtual-storage computer", 1966), and blocks
// that nobody will use take no room.
double BestHitRate(const PrefixTrace& trace, int64_t blocks);

}  // namespace ebb::bench
