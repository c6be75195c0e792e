// BlockCensus: what sequences hold when they have blocks in common: answers of one request, and
// prompts that begin alike.
//
// Pure but for reading sequences: under EngineCore::mutex.
#pragma once

#include <cstdint>
#include <unordered_set>
#include <vector>

#include "engine/sequence.h"
#include "memory/block_pool.h"
#include "memory/kv_geometry.h"
#include "memory/kv_memory.h"
#include "memory/release_plan.h"

namespace ebb::engine {

// Counts each block once, for the first of the sequences that has it.
class BlockCensus {
 public:
  // It outlives this.
  explicit BlockCensus(const memory::KvMemory& memory)
      : geometry_(memory.geometry()), blocks_(memory.blocks()) {}

  struct Part {
    int64_t held_blocks = 0;    // Of its blocks, those that nobody before it has.
    int64_t shared_blocks = 0;  // Those that somebody before it has, and nobody will write to.
    int64_t shared_tokens = 0;  // Its computed tokens in blocks that somebody before it has.
  };
  // Sequences in their order, each once.
  Part Count(const Sequence& sequence);

 private:
  const memory::KvGeometry& geometry_;
  const memory::BlockPool& blocks_;
  std::unordered_set<memory::BlockId> seen_;
};

// Blocks beyond the sequence's own that the answers which are to fork from it hold when each has
// made so many tokens.
int64_t UnforkedBlocks(const Sequence& sequence, int64_t made_tokens,
                       const memory::KvGeometry& geometry);

// What the sequences have in common and nobody else has, by their positions.
std::vector<memory::SharedBlocks> SharedAmong(const std::vector<Sequence*>& sequences,
                                              const memory::KvGeometry& geometry,
                                              const memory::BlockPool& blocks);

}  // namespace ebb::engine
