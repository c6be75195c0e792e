#include "model/tokenizer_bpe.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "base/check.h"

namespace ebb::model {
namespace {

uint64_t PairKey(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

}  // namespace

bool BpeMerger::AddRule(int32_t left, int32_t right, int32_t merged) {
  CHECK_LT(rules_.size(), size_t{kNoRank});
  const Rule rule = {static_cast<uint32_t>(rules_.size()), merged};
  return rules_.emplace(PairKey(left, right), rule).second;
}

const BpeMerger::Rule* BpeMerger::Find(int32_t left, int32_t right) const {
  const auto found = rules_.find(PairKey(left, right));
  return found == rules_.end() ? nullptr : &found->second;
}

// Looks up the pair that starts at `index` and remembers its rank.
void BpeMerger::NotePair(int32_t index, BpeScratch* scratch) const {
  BpeScratch::Symbol& symbol = scratch->symbols[index];
  symbol.pair_rank = kNoRank;
  if (symbol.next < 0) return;
  const Rule* rule = Find(symbol.id, scratch->symbols[symbol.next].id);
  if (rule != nullptr) symbol.pair_rank = rule->rank;
}

void BpeMerger::Merge(absl::Span<const int32_t> ids, BpeScratch* scratch,
                      std::vector<int32_t>* out) const {
  if (ids.size() < 2) {
    out->insert(out->end(), ids.begin(), ids.end());
    return;
  }
  CHECK_LE(ids.size(), size_t{std::numeric_limits<int32_t>::max()});
  const auto count = static_cast<int32_t>(ids.size());
  auto& symbols = scratch->symbols;
  auto& heap = scratch->heap;
  symbols.clear();
  heap.clear();
  for (int32_t i = 0; i < count; ++i) {
    symbols.push_back({ids[i], i - 1, i + 1 < count ? i + 1 : -1, kNoRank});
  }
  const auto entry = [&](int32_t index) {
    return uint64_t{symbols[index].pair_rank} << 32 | static_cast<uint32_t>(index);
  };
  for (int32_t i = 0; i < count; ++i) {
    NotePair(i, scratch);
    if (symbols[i].pair_rank != kNoRank) heap.push_back(entry(i));
  }
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const uint64_t top = heap.back();
    heap.pop_back();
    const auto left = static_cast<int32_t>(top & 0xFFFFFFFF);
    // An entry is stale when its pair has changed since; the pair's present entry is elsewhere in
    // the heap.
    if (symbols[left].pair_rank != top >> 32) continue;
    const int32_t right = symbols[left].next;
    symbols[left].id = Find(symbols[left].id, symbols[right].id)->merged;
    symbols[left].next = symbols[right].next;
    symbols[right].pair_rank = kNoRank;
    if (symbols[left].next >= 0) symbols[symbols[left].next].previous = left;
    for (const int32_t changed : {symbols[left].previous, left}) {
      if (changed < 0) continue;
      NotePair(changed, scratch);
      if (symbols[changed].pair_rank == kNoRank) continue;
      heap.push_back(entry(changed));
      std::push_heap(heap.begin(), heap.end(), std::greater<>());
    }
  }
  for (int32_t i = 0; i >= 0; i = symbols[i].next) out->push_back(symbols[i].id);
}

}  // namespace ebb::model
