// MovePlan: which blocks move so that whole pages become empty. Pure.
//
//              before        after
//   page 0    [###.####]   [########]     the emptiest pages, of these the highest, are emptied
//   page 1    [##.##...]   [#####...]     into the holes of the fullest, of these the lowest
//   page 2    [.#......]   [........] <-- can be unmapped
//
// Moving n pages' blocks takes n pages' worth of holes, whichever pages are chosen, so the emptiest
// are the cheapest choice and no other choice empties more.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "memory/block_pool.h"
#include "memory/kv_geometry.h"

namespace ebb::memory {

struct BlockMove {
  BlockId from = 0;
  BlockId to = 0;  // Free before the moves.
};

struct MoveNeed {
  int64_t pages = 0;       // That should become empty. More are never emptied.
  int64_t blocks_max = 0;  // To be copied, at most.
};

struct MovePlan {
  std::vector<BlockMove> moves;  // In the order of `from`. All happen, or none.
  std::vector<PageId> emptied;   // Ascending; each move comes from one of them.
};

// `tables`: the blocks of each sequence whose blocks may move, that is, with nothing submitted that
// reads or writes them. A block that has an owner besides stays where it is, and its page too.
// Empties as many of the wanted pages as the holes of the others and the budget allow; nothing
// moves that does not help to empty a page. Blocks never move into a page that is empty.
MovePlan PlanMoves(absl::Span<const absl::Span<const BlockId>> tables, const MoveNeed& need,
                   const KvGeometry& geometry, const BlockPool& blocks);

}  // namespace ebb::memory
