// BpeMerger: byte-pair merging of one piece of text (Sennrich, Haddow, Birch, "Neural Machine
// Translation of Rare Words with Subword Units", ACL 2016).
//
//   "hug" -> [h][u][g] --(u,g) has the lowest rank--> [h][ug] --(h,ug)--> [hug]
//
// It knows ids and ranks only; the tokenizer owns what they mean.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"

namespace ebb::model {

// Buffers reused from piece to piece.
struct BpeScratch {
  struct Symbol {
    int32_t id;
    int32_t previous;  // Index of the neighbour, or -1.
    int32_t next;
    uint32_t pair_rank;  // Of the pair that starts here; BpeMerger::kNoRank when it cannot merge.
  };
  std::vector<Symbol> symbols;
  std::vector<uint64_t> heap;  // rank << 32 | index, the least on top.
};

// Thread-safe once built.
class BpeMerger {
 public:
  static constexpr uint32_t kNoRank = 0xFFFFFFFF;

  void Reserve(size_t merge_count) { rules_.reserve(merge_count); }
  // Pairs added earlier merge first. False when the pair is there already.
  // REQUIRES: fewer than kNoRank rules.
  bool AddRule(int32_t left, int32_t right, int32_t merged);

  // Appends the ids that `ids` merge into. Always the pair of the lowest rank, the leftmost among
  // equals. O(n log n). REQUIRES: ids.size() < 2^31.
  void Merge(absl::Span<const int32_t> ids, BpeScratch* scratch, std::vector<int32_t>* out) const;

 private:
  struct Rule {
    uint32_t rank;
    int32_t merged;
  };
  const Rule* Find(int32_t left, int32_t right) const;
  void NotePair(int32_t index, BpeScratch* scratch) const;

  absl::flat_hash_map<uint64_t, Rule> rules_;  // By left << 32 | right.
};

}  // namespace ebb::model
