// What looking for prefixes costs the host where none is shared: real time, not simulated.
#pragma once

#include <cstdint>

namespace ebb::bench {

// Nanoseconds for a block, the least of several rounds.
struct PrefixCosts {
  double hash_ns = 0;       // PrefixChain::Follow: SHA-256 of its tokens.
  double miss_ns = 0;       // PrefixCache::Find that finds nothing; for a prompt, not a block.
  double hit_ns = 0;        // Find, revive and NoteHits, of a block that is there.
  double seal_ns = 0;       // PrefixCache::Add.
  double give_back_ns = 0;  // Its last owner gives it back, and it is kept.
  double evict_ns = 0;      // Take, where every free block is kept.
  double take_ns = 0;       // The same where none is: without a cache.
};
PrefixCosts MeasurePrefixCosts(int32_t block_tokens);

}  // namespace ebb::bench
