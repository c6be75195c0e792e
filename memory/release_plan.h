// ReleasePlan: which sequences are preempted when memory must go. Pure.
//
// Freeing blocks frees no page by itself: victims are picked so that whole pages become empty.
//
//              page 0   page 1   page 2
//   first        ##       #                never a victim
//   second       #        ##      #
//   third                         ##       pages_needed = 1: second and third empty page 2,
//                                          third alone does not
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "memory/block_pool.h"
#include "memory/block_table.h"

namespace ebb::memory {

struct ReleaseCandidate {
  // Blocks that preempting it would free, by page: those that others have too are not among them.
  std::vector<PageBlocks> blocks;
  int64_t growth_blocks = 0;  // What it would grow by in the window; not needed once it waits.
  double restoring_cost = 0;  // To bring it back, in any one unit. Not negative.
  bool immune = false;        // Was preempted lately and has made too few tokens since.
  bool preemptible = true;    // False: it must stay (e.g. a step of it is submitted).
  bool leaving = false;       // It gives way already: what it frees counts, and it is no victim.
};

// Blocks that several sequences have in common: they are free when all of these are gone.
struct SharedBlocks {
  std::vector<size_t> owners;      // Positions in the order. Nobody else has them.
  std::vector<PageBlocks> blocks;  // By page.
};

struct ReleaseNeed {
  int64_t blocks = 0;  // Blocks used, or that would be used, that must go.
  int64_t pages = 0;   // Pages that must become empty, beside those that are.
};

struct ReleasePlan {
  bool possible = false;
  // Positions in the order, ascending. Without any one of them the need is not met. When not
  // possible: all that could go, which is the most that can be done.
  std::vector<size_t> victims;
  int64_t freed_blocks = 0;  // Held and growth.
  int64_t emptied_pages = 0;
  bool takes_immune = false;  // Immune ones go only when the others do not do.
};

// `order`: all unfinished sequences that hold or would take blocks, first to last. The first is
// never picked. Prefers the most useful blocks for the least restoring cost; where that is equal,
// the later in the order. `blocks` says how many blocks of a page are in use, of whomever.
ReleasePlan PlanRelease(absl::Span<const ReleaseCandidate> order,
                        absl::Span<const SharedBlocks> shared, const ReleaseNeed& need,
                        const BlockPool& blocks);
inline ReleasePlan PlanRelease(absl::Span<const ReleaseCandidate> order, const ReleaseNeed& need,
                               const BlockPool& blocks) {
  return PlanRelease(order, {}, need, blocks);
}

}  // namespace ebb::memory
