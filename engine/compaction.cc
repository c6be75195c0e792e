#include "engine/compaction.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/check.h"

namespace ebb::engine {

bool MovingSuffices(EngineCore* core, Lane which, const memory::WindowPlan& plan) {
  const MemoryOptions& options = core->options.memory;
  LaneState& lane = core->lane(which);
  const bool tried = std::exchange(lane.leans_on_moves, false);
  if (options.compact_above_percent == 0 || tried) return false;
  if (plan.release_blocks > 0 || plan.release_pages == 0) return false;
  std::vector<const memory::BlockTable*> tables;
  for (const Sequence* sequence : core->order()) {
    if (core->BelongsTo(which, *sequence) && !sequence->in_step) tables.push_back(&sequence->table);
  }
  // The window's grants, once it is open, leave these pages spare: the plan says so.
  const memory::MovePlan moves =
      core->memory().PlanMovesOf(tables, plan.release_pages, options.compact_bytes_max);
  if (static_cast<int64_t>(moves.emptied.size()) < plan.release_pages) return false;
  core->memory().WantPages(plan.release_pages);
  lane.leans_on_moves = true;
  return true;
}

void AddMoves(EngineCore* core, Batch* batch) {
  LaneState& lane = core->lane(batch->lane);
  CHECK(lane.in_flight);
  memory::KvMemory& memory = core->memory();
  if (!lane.window.has_value() || lane.window->moves_tried || memory.scattered_pages() == 0) return;
  if (!batch->copies.empty()) return;  // What is being copied stays: the next step may move.
  lane.window->moves_tried = true;
  std::vector<memory::BlockTable*> tables;
  for (const StagedRows& rows : lane.batch) tables.push_back(&rows.sequence->table);
  const memory::MovePlan plan =
      memory.PlanMovesOf(std::vector<const memory::BlockTable*>(tables.begin(), tables.end()),
                         std::min(memory.scattered_pages(), memory.spare_pages()),
                         core->options.memory.compact_bytes_max);
  if (plan.moves.empty()) return;
  memory.CommitMoves(plan, absl::MakeSpan(tables));
  lane.leans_on_moves = false;
  const memory::KvGeometry& geometry = memory.geometry();
  for (const memory::BlockMove& move : plan.moves) {
    batch->moves.push_back({geometry.TableIndex(move.from), geometry.TableIndex(move.to)});
  }
  for (size_t i = 0; i < tables.size(); ++i) {
    std::vector<int32_t>& table = batch->sequences[i].table;
    std::copy_n(tables[i]->indices().begin(), table.size(), table.begin());
  }
  core->wakeups.Wake(Actor::kKeeper);
}

}  // namespace ebb::engine
