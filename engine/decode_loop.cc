#include "engine/decode_loop.h"

#include <algorithm>
#include <utility>

#include "engine/compaction.h"

namespace ebb::engine {
Pass DecodeLoop::RunOnce() {
  Pass pass;
  pass.progressed = ReapStep(core_, windows_, Lane::kDecode);
  RefreshFreeBytes(core_, *windows_, Lane::kDecode);
  Outbox outbox;
  Batch batch;
  {
    base::MutexLock lock(&core_->mutex);
    const absl::Time now = core_->Now();
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

Batch DecodeLoop::Plan(absl::Time now, Outbox* outbox, Pass* pass) {
  pass->progressed |= core_->EndLeavers(Lane::kDecode, now, outbox);
  Batch batch;
  batch.lane = Lane::kDecode;
  LaneState& lane = core_->lane(Lane::kDecode);
  if (core_->device_lost() || lane.in_flight) return batch;
  relief_->Act(now, outbox);
  if (relief_->Holds()) return batch;
  if (windows_->IsDue(Lane::kDecode, now)) windows_->Boundary(Lane::kDecode, now, outbox);
  const std::vector<Sequence*> decoding = core_->InState(SequenceState::kDecoding);
  if (decoding.empty()) return batch;
  const absl::Time start = NextStart(decoding);
  if (now < start) {
    pass->next_run = start;
    return batch;
  }
  batch = FormBatch(decoding, now);
  // One that lacks a block waits for the boundary, where somebody gives way.
  lane.window->starved = batch.sequences.size() < decoding.size();
  if (batch.sequences.empty() && !core_->lane(Lane::kPrefill).in_flight) {
    pass->progressed |= windows_->GiveUpHopeless(true, now, outbox);
  }
  return batch;
}

// Between its steps decode leaves the cores to prefill, as long as the policy allows.
absl::Time DecodeLoop::NextStart(const std::vector<Sequence*>& decoding) const {
  const LaneState& lane = core_->lane(Lane::kDecode);
  memory::StepShape shape;
  shape.rows = static_cast<int64_t>(decoding.size());
  shape.other_lane_busy = true;
  for (const Sequence* sequence : decoding) shape.context_tokens += sequence->computed_tokens + 1;
  DecodeTiming timing;
  timing.prefill_in_flight = core_->lane(Lane::kPrefill).in_flight;
  timing.last_step_ended = lane.last_step_ended;
  timing.predicted_step = lane.times.Predict(shape);
  return core_->parts.policy->NextDecodeStart(timing);
}

bool DecodeLoop::WorkspaceIsReady(int32_t sequence_count) {
  StepShape shape;
  shape.row_count = sequence_count;
  shape.sequence_count = sequence_count;
  shape.logits_row_count = sequence_count;
  memory::Workspace& workspace = core_->workspace(Lane::kDecode);
  const int64_t bytes = core_->parts.runner->WorkspaceBytes(Lane::kDecode, shape);
  if (bytes > workspace.demand_bytes()) workspace.SetDemand(bytes);
  if (workspace.usable_bytes() >= bytes) return true;
  core_->wakeups.Wake(Actor::kKeeper);
  return false;
}

Batch DecodeLoop::FormBatch(const std::vector<Sequence*>& decoding, absl::Time now) {
  Batch batch;
  batch.lane = Lane::kDecode;
  if (!WorkspaceIsReady(static_cast<int32_t>(decoding.size()))) return batch;
  for (Sequence* sequence : decoding) {
    const int64_t tokens = sequence->computed_tokens + 1;
    windows_->Supplement(Lane::kDecode, sequence->table.MissingBlocks(tokens));
    if (sequence->table.TryExtendTo(tokens)) StageRows(core_, sequence, 1, &batch);
  }
  if (batch.sequences.empty()) return batch;
  StageStep(core_, batch, now);
  AddMoves(core_, &batch);
  return batch;
}

absl::Time DecodeLoop::NextRun(absl::Time now) const {
  absl::Time next = core_->NextLeaver(Lane::kDecode);
  const LaneState& lane = core_->lane(Lane::kDecode);
  if (lane.in_flight) return next;
  if (lane.window.has_value() && lane.window->starved) {
    next = std::min({next, now + kStarvedRetry, windows_->NextDue(Lane::kDecode)});
  }
  return next;
}

}  // namespace ebb::engine
