#include "memory/move_plan.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace ebb::memory {
namespace {

struct PartlyUsed {
  PageId page = 0;
  int32_t used = 0;
  int32_t free = 0;
};

std::vector<PartlyUsed> PagesInUse(const KvGeometry& geometry, const BlockPool& blocks) {
  std::vector<PartlyUsed> pages;
  for (PageId page = 0; page < blocks.page_count(); ++page) {
    const int32_t used = blocks.used_in_page(page);
    if (used > 0) pages.push_back({page, used, geometry.blocks_per_page() - used});
  }
  return pages;
}

// How many blocks of each page may move: all owners of such a block are among the tables.
std::map<PageId, int32_t> CountMovable(absl::Span<const absl::Span<const BlockId>> tables,
                                       const KvGeometry& geometry, const BlockPool& blocks) {
  std::vector<BlockId> named;
  for (const absl::Span<const BlockId> table : tables) {
    named.insert(named.end(), table.begin(), table.end());
  }
  std::sort(named.begin(), named.end());
  std::map<PageId, int32_t> movable;
  for (size_t first = 0; first < named.size();) {
    const BlockId block = named[first];
    size_t end = first;
    while (end < named.size() && named[end] == block) ++end;
    if (blocks.references(block) == static_cast<int32_t>(end - first)) {
      ++movable[geometry.PageOf(block)];
    }
    first = end;
  }
  return movable;
}

// Lays the used blocks of `sources` into the free ones of `targets`, both in their order.
std::vector<BlockMove> Lay(absl::Span<const PageId> sources, absl::Span<const PageId> targets,
                           const KvGeometry& geometry, const BlockPool& blocks) {
  const auto collect = [&](absl::Span<const PageId> pages, bool used) {
    std::vector<BlockId> found;
    for (const PageId page : pages) {
      for (int32_t i = 0; i < geometry.blocks_per_page(); ++i) {
        const BlockId block = page * geometry.blocks_per_page() + i;
        if ((blocks.references(block) > 0) == used) found.push_back(block);
      }
    }
    return found;
  };
  const std::vector<BlockId> from = collect(sources, true);
  std::vector<BlockId> to = collect(targets, false);
  // What free blocks hold stays where there is room beside it.
  std::stable_partition(to.begin(), to.end(), [&](BlockId block) { return !blocks.kept(block); });
  std::vector<BlockMove> moves;
  for (size_t i = 0; i < from.size(); ++i) moves.push_back({from[i], to.at(i)});
  return moves;
}

}  // namespace

MovePlan PlanMoves(absl::Span<const absl::Span<const BlockId>> tables, const MoveNeed& need,
                   const KvGeometry& geometry, const BlockPool& blocks) {
  if (need.pages <= 0) return {};
  std::vector<PartlyUsed> pages = PagesInUse(geometry, blocks);
  int64_t holes = 0;
  for (const PartlyUsed& page : pages) holes += page.free;
  const int64_t pages_max = std::min(need.pages, holes / geometry.blocks_per_page());
  if (pages_max == 0) return {};

  // The fullest first, of these the lowest: targets are taken from the front, sources from the
  // back.
  std::sort(pages.begin(), pages.end(), [](const PartlyUsed& a, const PartlyUsed& b) {
    return std::tie(a.free, a.page) < std::tie(b.free, b.page);
  });
  const std::map<PageId, int32_t> movable = CountMovable(tables, geometry, blocks);
  MovePlan plan;
  std::vector<PageId> targets;
  int64_t moved = 0;
  for (auto page = pages.rbegin(); page != pages.rend(); ++page) {
    const auto found = movable.find(page->page);
    const bool may_go = found != movable.end() && found->second == page->used;
    if (may_go && static_cast<int64_t>(plan.emptied.size()) < pages_max &&
        moved + page->used <= need.blocks_max) {
      plan.emptied.push_back(page->page);
      moved += page->used;
    } else {
      targets.push_back(page->page);
    }
  }
  std::reverse(targets.begin(), targets.end());
  std::sort(plan.emptied.begin(), plan.emptied.end());
  plan.moves = Lay(plan.emptied, targets, geometry, blocks);
  return plan;
}

}  // namespace ebb::memory
