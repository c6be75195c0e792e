#include "engine/window_outcome.h"

#include "engine/block_census.h"

namespace ebb::engine {

void CountWindow(EngineCore* core, Lane which, absl::Time now) {
  LaneState& lane = core->lane(which);
  if (!lane.window.has_value()) return;
  const OpenWindow& window = *lane.window;
  const bool reached_end = window.steps >= window.plan.steps ||
                           now - window.opened >= window.plan.length ||
                           core->Executing(which).empty();
  if (!reached_end) return;
  // Sequences may have gone over to the other queue, or ended; those that came meanwhile were not
  // foreseen.
  int64_t used_blocks = 0;
  BlockCensus census(core->memory());
  for (const Sequence* sequence : core->order()) {
    if (!sequence->running()) continue;
    // As when it was planned: what one that goes before has in its blocks counts there.
    const int64_t held_blocks = census.Count(*sequence).held_blocks;
    if (window.sequences.count(sequence->id) > 0) used_blocks += held_blocks;
  }
  lane.windows.Add(window.plan.static_blocks + window.plan.dynamic_blocks, used_blocks);
}

}  // namespace ebb::engine
