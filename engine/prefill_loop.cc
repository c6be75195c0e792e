#include "engine/prefill_loop.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "engine/compaction.h"

namespace ebb::engine {
Pass PrefillLoop::RunOnce() {
  Pass pass;
  pass.progressed = ReapStep(core_, windows_, Lane::kPrefill);
  RefreshFreeBytes(core_, *windows_, Lane::kPrefill);
  Outbox outbox;
  Batch batch;
  {
    base::MutexLock lock(&core_->mutex);
    const absl::Time now = core_->Now();
    batch = Plan(now, &outbox, &pass.progressed);
    pass.next_run = NextRun(now);
  }
  core_->Deliver(&outbox);
  if (!batch.sequences.empty()) {
    core_->parts.runner->Submit(std::move(batch));
    pass.progressed = true;
  }
  return pass;
}

Batch PrefillLoop::Plan(absl::Time now, Outbox* outbox, bool* progressed) {
  *progressed |= core_->EndLeavers(Lane::kPrefill, now, outbox);
  Batch batch;
  batch.lane = Lane::kPrefill;
  if (core_->device_lost() || core_->lane(Lane::kPrefill).in_flight) return batch;
  relief_->Act(now, outbox);
  if (relief_->Holds()) return batch;
  if (windows_->IsDue(Lane::kPrefill, now)) windows_->Boundary(Lane::kPrefill, now, outbox);
  if (core_->InState(SequenceState::kPrefilling).empty()) return batch;
  batch = FormBatch(now);
  const bool stuck = batch.sequences.empty();
  core_->lane(Lane::kPrefill).window->starved = stuck;
  if (stuck && !core_->lane(Lane::kDecode).in_flight) {
    *progressed |= windows_->GiveUpHopeless(true, now, outbox);
  }
  return batch;
}

// For each prompt, in order, what its blocks and what is left of the grant have room for.
std::vector<PromptView> PrefillLoop::ViewPrompts(const std::vector<Sequence*>& prompts) {
  memory::Accounts& accounts = core_->memory().accounts();
  const int64_t block_tokens = core_->memory().geometry().block_tokens();
  accounts.TopUp(memory::AccountId::kPrefill);
  int64_t grant_left =
      accounts.granted(memory::AccountId::kPrefill) - accounts.used(memory::AccountId::kPrefill);
  std::vector<PromptView> views;
  for (const Sequence* prompt : prompts) {
    // No more than this step can use: what a long prompt needs later keeps no short one waiting
    // now.
    const int64_t chunk_end =
        prompt->computed_tokens +
        std::min(prompt->remaining_tokens(), core_->options.step.chunk_tokens_max);
    const int64_t blocks = std::min(grant_left, prompt->table.MissingBlocks(chunk_end));
    grant_left -= blocks;
    const int64_t room =
        prompt->table.capacity_tokens() + blocks * block_tokens - prompt->computed_tokens;
    PromptView view;
    view.remaining_tokens = prompt->remaining_tokens();
    view.room_tokens = static_cast<int32_t>(std::min<int64_t>(room, view.remaining_tokens));
    view.prompt_logprobs = prompt->wants_prompt_logprobs();
    views.push_back(view);
  }
  return views;
}

// Whether the lane's workspace has room for a step of these chunks; asks for it if not.
bool PrefillLoop::WorkspaceIsReady(const std::vector<Sequence*>& prompts,
                                   const std::vector<int32_t>& counts) {
  StepShape shape;
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (counts[i] == 0) continue;
    ++shape.sequence_count;
    shape.row_count += counts[i];
    shape.logits_row_count += prompts[i]->wants_prompt_logprobs() ? counts[i] : 1;
  }
  shape.logits_row_count = std::min(shape.logits_row_count, shape.row_count);
  memory::Workspace& workspace = core_->workspace(Lane::kPrefill);
  const int64_t bytes = core_->parts.runner->WorkspaceBytes(Lane::kPrefill, shape);
  if (bytes > workspace.demand_bytes()) workspace.SetDemand(bytes);
  if (workspace.usable_bytes() >= bytes) return true;
  core_->wakeups.Wake(Actor::kKeeper);
  return false;
}

Batch PrefillLoop::FormBatch(absl::Time now) {
  Batch batch;
  batch.lane = Lane::kPrefill;
  const std::vector<Sequence*> prompts = core_->InState(SequenceState::kPrefilling);
  const std::vector<int32_t> counts = core_->parts.policy->PlanChunk(ViewPrompts(prompts));
  CHECK_EQ(counts.size(), prompts.size());
  if (std::accumulate(counts.begin(), counts.end(), 0) == 0) return batch;
  if (!WorkspaceIsReady(prompts, counts)) return batch;
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (counts[i] == 0) continue;
    CHECK(prompts[i]->table.TryExtendTo(prompts[i]->computed_tokens + counts[i]));
    StageRows(core_, prompts[i], counts[i], &batch);
  }
  StageStep(core_, batch, now);
  AddMoves(core_, &batch);
  return batch;
}

absl::Time PrefillLoop::NextRun(absl::Time now) const {
  absl::Time next = core_->NextLeaver(Lane::kPrefill);
  if (core_->lane(Lane::kPrefill).in_flight) return next;
  const bool waits = std::any_of(
      core_->order().begin(), core_->order().end(),
      [](const Sequence* sequence) { return sequence->state() != SequenceState::kDecoding; });
  if (waits) next = std::min({next, now + kStarvedRetry, windows_->NextDue(Lane::kPrefill)});
  return next;
}

}  // namespace ebb::engine
