// PrefixCache: which blocks hold which prefixes, so that a prompt whose beginning was computed
// before need not be computed again.
//
//   salt "a" ── [block 7] ── [block 3] ── [block 9]     a tree: each node is a full block of
//                     └───── [block 4]                  tokens, behind all those before it
//   salt "b" ── [block 1]
//
// The cache owns nothing. While sequences have a node's block, others find it there and share it;
// when the last of them has given it back, the block is kept (see BlockPool): free for whoever
// wants it, and until then found with what it holds. So nobody has to give way for the cache, and
// no grant or plan counts it.
//
// What goes first: whole pages where pages are wanted, the coldest of them first; else the block
// that would expire first, and of a chain the last. It expires `idle_after` after its last use, and
// so much later again each time the number of its hits doubles. With a block go all those behind
// it, which nobody could find any more.
//
// A digest only finds a candidate: its tokens, its salt and the node before it are compared.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "memory/block_pool.h"
#include "memory/kv_geometry.h"
#include "memory/prefix_chain.h"
#include "memory/readers.h"

namespace ebb::memory {

using PrefixNodeId = uint64_t;  // Never used twice. 0: before the first block.

// How far a sequence's own blocks are in the cache.
struct PrefixPlace {
  int64_t blocks = 0;     // The first so many,
  PrefixNodeId node = 0;  // of which this is the last.
  bool lost = false;      // What is before the next block is not in the cache: nothing behind is.
};

// A block that holds what was looked for.
struct PrefixHit {
  BlockId block = 0;
  PrefixNodeId node = 0;
};

// What the cache has done so far.
struct PrefixCacheTotals {
  int64_t queried_tokens = 0;  // Of prompts that were looked up.
  int64_t hit_tokens = 0;      // Of these, found.
  int64_t added_blocks = 0;
  int64_t evicted_blocks = 0;  // Kept blocks that others wanted, or whose page went.
  int64_t expired_blocks = 0;  // Kept blocks that nobody asked for in time.
};

// Thread-compatible: guarded by the engine's mutex, owned by KvMemory.
class PrefixCache final : public BlockKeeper {
 public:
  struct Options {
    int32_t block_tokens = 0;
    int32_t blocks_per_page = 0;
    int64_t block_count = 0;  // Of the whole range.
    absl::Duration idle_after = absl::Seconds(60);
    int64_t floor_blocks = 0;  // Do not expire.
  };
  // Both outlive it.
  PrefixCache(const Options& options, BlockPool* pool, const Readers* readers);
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  // The time of all uses until the next call. It never goes back.
  void set_now(absl::Time now) { now_ = std::max(now_, now); }

  // ---- finding

  // The blocks of `tokens` behind `place`, at most `blocks_max` of them, in their order. REQUIRES:
  // the chain has followed the tokens.
  std::vector<PrefixHit> Find(const PrefixChain& chain, absl::Span<const int32_t> tokens,
                              const PrefixPlace& place, int64_t blocks_max) const;
  // The caller's table has these blocks now, of which those that were kept have been revived.
  void NoteHits(absl::Span<const PrefixHit> hits, PrefixPlace* place);
  // How many of the chain's first blocks are there, and how many of these somebody uses; by
  // digests alone, for estimates.
  struct Residence {
    int64_t blocks = 0;
    int64_t used_blocks = 0;
  };
  Residence ResidenceOf(const PrefixChain& chain, int64_t blocks_max) const;
  // A prompt of so many tokens was looked up.
  void NoteQuery(int64_t tokens) { totals_.queried_tokens += tokens; }

  // ---- adding

  // The block behind `place` has been computed and will never be written to again; it is in use.
  // Where an equal one is there already, that one stays.
  void Add(const PrefixChain& chain, absl::Span<const int32_t> tokens, BlockId block,
           PrefixPlace* place);
  // Whether somebody could find the block.
  bool Has(BlockId block) const { return node_of_.at(static_cast<size_t>(block)) != nullptr; }
  // Nobody finds the block any more, or what is behind it: its contents are in doubt, or will
  // change.
  void Forget(BlockId block);

  // ---- moving and giving back

  // The block's contents are copied to `to` by work that has been submitted to the readers; nobody
  // finds it there before they have passed.
  void Move(BlockId from, BlockId to);
  // Releases what is kept in the page.
  void EvictPage(PageId page);
  // Pages without a block in use, in which blocks are kept, those first whose last use is longest
  // ago.
  std::vector<PageId> EmptyPagesColdestFirst() const;
  // Releases the blocks that have expired, but for the floor's.
  void Expire(absl::Time now);
  // When Expire could release the next.
  absl::Time next_expiry() const;
  // Forgets everything.
  void Clear();

  int64_t node_count() const { return static_cast<int64_t>(nodes_.size()); }
  const PrefixCacheTotals& totals() const { return totals_; }

  // ---- the pool's side

  bool Keep(BlockId block) override;
  void NoteRevived(BlockId block) override;
  void ReleaseOne() override;

 private:
  struct Node {
    PrefixNodeId id = 0;
    PrefixDigest digest = {};
    BlockId block = 0;
    Node* before = nullptr;
    std::vector<Node*> behind;
    std::vector<int32_t> tokens;
    std::string salt;   // Of a first block; else empty.
    int64_t depth = 0;  // Blocks before it.
    int64_t hits = 0;
    absl::Time last_use;
  };
  // In which order kept blocks go: when it expires; the deeper before; whatever.
  using Rank = std::tuple<absl::Time, int64_t, PrefixNodeId>;

  Rank RankOf(const Node& node) const;
  // The node of the chain's block, if it follows `before` and has the same tokens, else null.
  const Node* NodeAt(const PrefixChain& chain, absl::Span<const int32_t> tokens, int64_t block,
                     PrefixNodeId before) const;
  absl::Span<const int32_t> TokensOf(absl::Span<const int32_t> tokens, int64_t block) const;
  // Whether the block's contents are where the node says.
  bool IsThere(const Node& node) const;
  // Takes the node out, and all behind it; returns how many kept blocks that released.
  int64_t Remove(Node* node);

  const Options options_;
  BlockPool* const pool_;
  const Readers* const readers_;
  absl::flat_hash_map<PrefixDigest, std::unique_ptr<Node>> nodes_;
  std::vector<Node*> node_of_;  // By block; null: nobody could find it.
  std::map<Rank, Node*> kept_;  // Those whose blocks are kept, the first to go first.
  // Those whose blocks are being copied to where they are found, until these have passed.
  std::map<PrefixNodeId, Readers::Tickets> moving_;
  absl::Time now_ = absl::InfinitePast();
  PrefixNodeId next_id_ = 1;
  PrefixCacheTotals totals_;
};

}  // namespace ebb::memory
