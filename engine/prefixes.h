// Prefixes: sequences take over what others have computed of their tokens, and leave what they have
// computed to be found (memory/prefix_cache.h).
//
//   tokens    [ computed by others ][ computed here ][ not yet ]
//   blocks    [  shared, adopted   ][ sealed: added ][  open   ]
//
// Only full blocks are shared, and never the last token's, whose row is to be computed for what
// follows it. A sequence that wants log-probabilities of its prompt computes all of it.
//
// Looked up when a sequence is admitted and before each of its chunks, so that of prompts that
// begin alike the first computes what they have in common while the others wait for it, step by
// step. What was sealed in a step can be found once the step is reaped: it is there for every
// stream.
//
// All under EngineCore::mutex. Without a cache nothing here does anything.
#pragma once

#include <cstdint>

#include "absl/container/flat_hash_set.h"
#include "engine/core.h"
#include "memory/prefix_chain.h"

namespace ebb::engine {

// Looks the sequence's tokens up as it is admitted, and takes over what is there. REQUIRES: it is
// prefilling and in no step.
void AdmitPrefix(EngineCore* core, Sequence* sequence);
// Takes over what follows the computed tokens, as far as it is there and the grant covers what
// nobody else uses of it. REQUIRES: it is prefilling and in no step.
void AdoptPrefix(EngineCore* core, Sequence* sequence);

// The sequence's blocks that are full of computed tokens can be found from now on.
void SealBlocks(EngineCore* core, Sequence* sequence);

// Nobody finds the sequence's blocks any more: a step that may have written to them has failed, or
// it is to be computed anew, elsewhere.
void ForgetBlocks(EngineCore* core, const Sequence& sequence);

// How many of the blocks of a waiting sequence's tokens are there, and how many of these others
// use.
memory::PrefixCache::Residence ResidenceOf(EngineCore* core, const Sequence& sequence);

// A block that sequences of both lanes have is charged to the account of the first of them in the
// order: to whom plans count it.
void SettleCharges(EngineCore* core);

// What the prompts of a step, in their order, will have computed when it is over.
class ComingPrefixes {
 public:
  explicit ComingPrefixes(const EngineCore& core);

  // Whether what the prompt would compute next is among it.
  bool Have(const Sequence& prompt) const;
  // The prompt computes its next tokens, at most so many.
  void Add(const Sequence& prompt, int32_t tokens_max);

 private:
  const int32_t block_tokens_;
  absl::flat_hash_set<memory::PrefixDigest> digests_;
};

}  // namespace ebb::engine
