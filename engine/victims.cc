#include "engine/victims.h"

#include <algorithm>
#include <utility>

#include "engine/swap_choice.h"

namespace ebb::engine {
namespace {

// The plan for the shortest tail of the candidates that gives enough; else that for all of them.
memory::ReleasePlan PlanShortestTail(const std::vector<memory::ReleaseCandidate>& all,
                                     const std::vector<memory::SharedBlocks>& shared,
                                     const memory::ReleaseNeed& need,
                                     const memory::BlockPool& blocks) {
  memory::ReleasePlan plan;
  for (const bool spare_immune : {true, false}) {
    for (size_t tail = all.size(); tail-- > 0;) {
      std::vector<memory::ReleaseCandidate> candidates = all;
      for (size_t i = 0; i < candidates.size(); ++i) {
        if (i < tail || (spare_immune && candidates[i].immune)) candidates[i].preemptible = false;
      }
      plan = memory::PlanRelease(candidates, shared, need, blocks);
      if (plan.possible) return plan;
    }
  }
  return plan;
}

}  // namespace

memory::ReleaseCandidate CandidateOf(EngineCore* core, const Sequence& sequence,
                                     const BlockCensus::Part& part) {
  const int32_t context = core->parts.limits.context_tokens_max;
  const memory::KvGeometry& geometry = core->memory().geometry();
  const int64_t growth_tokens =
      std::min<int64_t>(sequence.may_make_tokens(context), core->options.window.decode_steps);
  memory::ReleaseCandidate candidate;
  candidate.blocks = sequence.table.OwnBlocksByPage();
  candidate.growth_blocks = std::max<int64_t>(
      0, geometry.BlocksFor(static_cast<int64_t>(sequence.tokens.size()) + growth_tokens) -
             part.shared_blocks - part.held_blocks);
  // As windows count them: the answers that are to fork from it grow as it does.
  candidate.growth_blocks +=
      UnforkedBlocks(sequence, sequence.generated_tokens() + growth_tokens, geometry);
  candidate.restoring_cost = RestoringCost(*core, sequence);
  candidate.immune = core->IsImmune(sequence);
  candidate.leaving = sequence.leaving();
  return candidate;
}

Victims PickVictims(EngineCore* core, memory::ReleaseNeed need, VictimScope scope) {
  std::vector<Sequence*> running;
  std::vector<memory::ReleaseCandidate> all;
  BlockCensus census(core->memory());
  double cost = 1;
  for (Sequence* sequence : core->order()) {
    if (!sequence->running()) continue;
    running.push_back(sequence);
    all.push_back(CandidateOf(core, *sequence, census.Count(*sequence)));
    all.back().preemptible = scope != VictimScope::kIdle || !sequence->in_step;
    cost += all.back().restoring_cost;
  }
  // The first of the whole order never gives way; when it does not run yet, everybody may.
  const bool first_runs = !running.empty() && running.front() == *core->order().begin();
  const bool first_too = first_runs && scope == VictimScope::kFirstToo;
  if (first_too) all.front().restoring_cost = cost;
  const size_t shown_before = first_runs && !first_too ? 0 : 1;
  if (shown_before == 1) {
    // PlanRelease never picks the first that it is shown: show it one that holds nothing.
    memory::ReleaseCandidate placeholder;
    placeholder.preemptible = false;
    all.insert(all.begin(), placeholder);
  }
  const memory::BlockPool& blocks = core->memory().blocks();
  std::vector<memory::SharedBlocks> shared =
      SharedAmong(running, core->memory().geometry(), blocks);
  for (memory::SharedBlocks& common : shared) {
    for (size_t& owner : common.owners) owner += shown_before;
  }
  memory::ReleasePlan plan = PlanShortestTail(all, shared, need, blocks);
  Victims victims;
  victims.possible = plan.possible;
  if (!plan.possible) {
    // The most that can be had, and nobody beyond those that it takes.
    need.blocks = std::min(need.blocks, plan.freed_blocks);
    need.pages = std::min(need.pages, plan.emptied_pages);
    plan = PlanShortestTail(all, shared, need, blocks);
  }
  for (const size_t index : plan.victims)
    victims.sequences.push_back(running[index - shown_before]);
  return victims;
}

}  // namespace ebb::engine
