#include "engine/block_census.h"

#include <algorithm>
#include <map>
#include <utility>

#include "memory/window_manager.h"

namespace ebb::engine {

BlockCensus::Part BlockCensus::Count(const Sequence& sequence) {
  const absl::Span<const memory::BlockId> blocks = sequence.table.blocks();
  const int64_t block_tokens = geometry_.block_tokens();
  Part part;
  part.held_blocks = sequence.table.block_count();
  if (blocks_.shared_blocks() == 0) return part;
  const int64_t maybe_shared = std::min(sequence.maybe_shared_blocks(), part.held_blocks);
  for (int64_t i = 0; i < maybe_shared; ++i) {
    const memory::BlockId block = blocks[static_cast<size_t>(i)];
    if (blocks_.references(block) == 1 || seen_.insert(block).second) continue;
    --part.held_blocks;
    const int64_t tokens =
        std::clamp<int64_t>(sequence.computed_tokens - i * block_tokens, 0, block_tokens);
    part.shared_tokens += tokens;
    // The last one is copied at the next token, unless it is full.
    if (tokens == block_tokens) ++part.shared_blocks;
  }
  return part;
}

int64_t UnforkedBlocks(const Sequence& sequence, int64_t made_tokens,
                       const memory::KvGeometry& geometry) {
  return (sequence.answers() - 1) *
         memory::AnswerBlocks(sequence.prompt_tokens(), made_tokens, geometry.block_tokens());
}

std::vector<memory::SharedBlocks> SharedAmong(const std::vector<Sequence*>& sequences,
                                              const memory::KvGeometry& geometry,
                                              const memory::BlockPool& blocks) {
  if (blocks.shared_blocks() == 0) return {};
  std::vector<std::pair<memory::BlockId, size_t>> named;
  for (size_t position = 0; position < sequences.size(); ++position) {
    const Sequence& sequence = *sequences[position];
    const int64_t maybe_shared =
        std::min(sequence.maybe_shared_blocks(), sequence.table.block_count());
    for (const memory::BlockId block : sequence.table.blocks().subspan(0, maybe_shared)) {
      if (blocks.references(block) > 1) named.emplace_back(block, position);
    }
  }
  std::sort(named.begin(), named.end());
  std::map<std::vector<size_t>, std::map<memory::PageId, int32_t>> by_owners;
  for (size_t first = 0; first < named.size();) {
    const memory::BlockId block = named[first].first;
    std::vector<size_t> owners;
    for (; first < named.size() && named[first].first == block; ++first) {
      owners.push_back(named[first].second);
    }
    if (blocks.references(block) != static_cast<int32_t>(owners.size())) continue;
    ++by_owners[std::move(owners)][geometry.PageOf(block)];
  }
  std::vector<memory::SharedBlocks> shared;
  for (const auto& [owners, pages] : by_owners) {
    memory::SharedBlocks common;
    common.owners = owners;
    for (const auto& [page, count] : pages) common.blocks.push_back({page, count});
    shared.push_back(std::move(common));
  }
  return shared;
}

}  // namespace ebb::engine
