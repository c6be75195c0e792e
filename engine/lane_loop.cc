#include "engine/lane_loop.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "engine/compaction.h"
#include "engine/forks.h"
#include "engine/prefixes.h"
#include "engine/step_timing.h"
#include "engine/swap_choice.h"

namespace ebb::engine {

Pass LaneLoop::RunOnce() {
  Pass pass;
  pass.progressed = ReapStep(core_, windows_, which_);
  RefreshFreeBytes(core_, *windows_, which_);
  Outbox outbox;
  Batch batch;
  {
    base::MutexLock lock(&core_->mutex);
    const absl::Time now = core_->Now();
    if (core_->memory().prefix_cache() != nullptr) core_->memory().prefix_cache()->set_now(now);
    batch = Plan(now, &outbox, &pass);
    pass.next_run = std::min(pass.next_run, NextRun(now));
  }
  core_->Deliver(&outbox);
  if (!batch.sequences.empty()) {
    core_->parts.runner->Submit(std::move(batch));
    pass.progressed = true;
  }
  return pass;
}

LaneLoop::Set LaneLoop::Executing() const {
  Set set;
  for (Sequence* sequence : core_->Executing(which_)) {
    if (sequence->copying()) continue;
    const bool decodes = sequence->state() == SequenceState::kDecoding;
    const bool kept = sequence->swap.state == SwapState::kKept;
    (decodes ? set.decoding : kept ? set.kept : set.prompts).push_back(sequence);
  }
  return set;
}

Batch LaneLoop::Plan(absl::Time now, Outbox* outbox, Pass* pass) {
  pass->progressed |= core_->EndLeavers(which_, now, outbox);
  LaneState& lane = core_->lane(which_);
  if (core_->device_lost() || lane.in_flight) return {};
  relief_->Act(now, outbox);
  if (relief_->Holds()) return {};
  if (windows_->IsDue(which_, now)) windows_->Boundary(which_, now, outbox);
  StartReturns(core_, which_);
  const Set set = Executing();
  if (set.empty()) return {};
  const absl::Time start = NextStart(set.decoding);
  if (now < start) {
    pass->next_run = start;
    return {};
  }
  Batch batch = FormBatch(set, now);
  lane.window->starved = IsStarved(set, batch);
  if (batch.sequences.empty() && NothingInFlight()) {
    pass->progressed |= windows_->GiveUpHopeless(true, now, outbox);
  }
  return batch;
}

// A sequence that lacks a block, or prompts of which none gets on, wait for the boundary.
bool LaneLoop::IsStarved(const Set& set, const Batch& batch) const {
  const size_t decode_rows = static_cast<size_t>(
      std::count_if(set.decoding.begin(), set.decoding.end(),
                    [](const Sequence* sequence) { return sequence->in_step; }));
  if (decode_rows < set.decoding.size() || !set.kept.empty()) return true;
  return !set.prompts.empty() && batch.sequences.size() == decode_rows;
}

bool LaneLoop::NothingInFlight() const {
  if (core_->swaps().busy()) return false;
  const absl::Span<const Lane> lanes = core_->lanes.all();
  return std::none_of(lanes.begin(), lanes.end(),
                      [this](Lane lane) { return core_->lane(lane).in_flight; });
}

// Between its steps decode leaves the cores to a prefill lane, as long as the policy allows.
absl::Time LaneLoop::NextStart(const std::vector<Sequence*>& decoding) const {
  const std::optional<Lane> other = core_->lanes.Other(which_);
  if (decoding.empty() || !other.has_value()) return absl::InfinitePast();
  DecodeTiming timing;
  timing.prefill_in_flight = core_->lane(*other).in_flight;
  timing.last_step_ended = core_->lane(which_).last_step_ended;
  timing.predicted_step = PredictDecodeStep(*core_, which_, decoding, true);
  return core_->parts.policy->NextDecodeStart(timing);
}

Batch LaneLoop::FormBatch(const Set& set, absl::Time now) {
  Batch batch;
  batch.lane = which_;
  for (Sequence* prompt : set.prompts) AdoptPrefix(core_, prompt);
  std::vector<int32_t> counts = PlanChunk(set);
  const auto takes_prompts = [&] { return std::accumulate(counts.begin(), counts.end(), 0) > 0; };
  if (set.decoding.empty() && !takes_prompts()) return batch;
  if (!WorkspaceIsReady(set, counts)) {
    // Answers need not wait for the workspace that prompts lack.
    if (set.decoding.empty() || !takes_prompts()) return batch;
    std::fill(counts.begin(), counts.end(), 0);
    if (!WorkspaceIsReady(set, counts)) return batch;
  }
  for (Sequence* sequence : set.decoding) {
    windows_->Supplement(which_, BlocksForNextToken(*core_, *sequence));
    if (TryTakeForNextToken(core_, sequence, &batch)) StageRows(core_, sequence, 1, &batch);
  }
  for (size_t i = 0; i < set.prompts.size(); ++i) {
    if (counts[i] == 0) continue;
    Sequence* prompt = set.prompts[i];
    CHECK(prompt->table.TryExtendTo(prompt->computed_tokens + counts[i]));
    StageRows(core_, prompt, counts[i], &batch);
  }
  if (batch.sequences.empty()) return batch;
  StageStep(core_, batch, now);
  AddMoves(core_, &batch);
  return batch;
}

// How many tokens of each prompt the next step takes.
std::vector<int32_t> LaneLoop::PlanChunk(const Set& set) {
  if (set.prompts.empty()) return {};
  std::vector<int32_t> counts =
      core_->parts.policy->PlanChunk(ViewPrompts(set), ChunkTokensMax(*core_, which_));
  CHECK_EQ(counts.size(), set.prompts.size());
  return counts;
}

// For each prompt, in order, what its blocks and what is left of the grant have room for, once the
// decoding sequences have what they need.
std::vector<PromptView> LaneLoop::ViewPrompts(const Set& set) {
  memory::Accounts& accounts = core_->memory().accounts();
  const memory::AccountId account = AccountOf(which_);
  const int64_t block_tokens = core_->memory().geometry().block_tokens();
  accounts.TopUp(account);
  int64_t grant_left = accounts.granted(account) - accounts.used(account);
  for (const Sequence* sequence : set.decoding) {
    grant_left -= BlocksForNextToken(*core_, *sequence);
  }
  // Prompts wait for pages that are on the way rather than take what others may find again.
  const int64_t free_blocks = core_->memory().FreeBlocksBesideCached(core_->Now());
  if (free_blocks < grant_left) core_->wakeups.Wake(Actor::kKeeper);
  grant_left = std::clamp<int64_t>(free_blocks, 0, std::max<int64_t>(0, grant_left));
  ComingPrefixes coming(*core_);
  std::vector<PromptView> views;
  auto kept = set.kept.begin();
  for (const Sequence* prompt : set.prompts) {
    for (; kept != set.kept.end() && (*kept)->key < prompt->key; ++kept) {
      grant_left = std::max<int64_t>(0, grant_left - BlocksToReturn(**kept));
    }
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
    // What one before it computes in this step need not be computed twice.
    if (coming.Have(*prompt)) view.room_tokens = 0;
    if (set.prompts.size() > 1) coming.Add(*prompt, view.room_tokens);
    views.push_back(view);
  }
  return views;
}

// Whether the lane's workspace has room for a step of all that decode and of these chunks; asks for
// it if not.
bool LaneLoop::WorkspaceIsReady(const Set& set, const std::vector<int32_t>& counts) {
  StepShape shape;
  shape.sequence_count = static_cast<int32_t>(set.decoding.size());
  shape.row_count = shape.logits_row_count = shape.sequence_count;
  for (size_t i = 0; i < set.prompts.size(); ++i) {
    if (counts[i] == 0) continue;
    ++shape.sequence_count;
    shape.row_count += counts[i];
    shape.logits_row_count += set.prompts[i]->wants_prompt_logprobs() ? counts[i] : 1;
  }
  shape.logits_row_count = std::min(shape.logits_row_count, shape.row_count);
  memory::Workspace& workspace = core_->workspace(which_);
  const int64_t bytes = core_->parts.runner->WorkspaceBytes(which_, shape);
  if (bytes > workspace.demand_bytes()) workspace.SetDemand(bytes);
  if (workspace.usable_bytes() >= bytes) return true;
  core_->wakeups.Wake(Actor::kKeeper);
  return false;
}

absl::Time LaneLoop::NextRun(absl::Time now) const {
  absl::Time next = core_->NextLeaver(which_);
  const LaneState& lane = core_->lane(which_);
  if (lane.in_flight) return next;
  const bool prompts_wait =
      std::any_of(core_->order().begin(), core_->order().end(), [this](const Sequence* sequence) {
        return sequence->state() != SequenceState::kDecoding && core_->BelongsTo(which_, *sequence);
      });
  if (prompts_wait || (lane.window.has_value() && lane.window->starved)) {
    next = std::min({next, now + kStarvedRetry, windows_->NextDue(which_)});
  }
  return next;
}

}  // namespace ebb::engine
