#include "engine/relief.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "engine/prefixes.h"
#include "engine/swap_choice.h"
#include "engine/victims.h"

namespace ebb::engine {
namespace {

// A step that was told to stop may have been told before it began: it is told again.
constexpr absl::Duration kTellAgain = absl::Milliseconds(1);

size_t DrainingPages(memory::KvMemory& memory) {
  size_t pages = 0;
  for (const memory::PagePool* pool : memory.pools()) pages += pool->draining().size();
  return pages;
}

}  // namespace

// ---- a call

Relief::Call Relief::Begin(const LimitChange& change, absl::Time now, Outbox* outbox) {
  Call call;
  call.begun = now;
  call.deadline = now + change.deadline;
  call.stale = change.revision != 0 && change.revision <= revision_;
  call.held_before_bytes = core_->memory().held_bytes();
  call.preemptions_before = core_->preemptions_total();
  call.ended_before = ended_total_;
  call.unmapped_before = core_->memory().pages().unmapped_total();
  if (call.stale) return call;
  change_ = change;
  deadline_ = call.deadline;
  span_ = change.deadline;
  moves_by_.reset();
  revision_ = std::max(revision_, change.revision);
  memory::KvMemory& memory = core_->memory();
  memory.SetLimit(change.bytes);
  memory.OnBoundary();  // Under a lowered limit nothing waits.
  if (!memory.over_limit()) {
    // Nobody has to give way any more for what an earlier limit asked.
    for (Sequence* sequence : core_->order()) {
      sequence->yields = sequence->owner->forced_out = false;
    }
  }
  Act(now, outbox);
  Hurry(now);
  core_->limit_changed.SignalAll();
  core_->wakeups.WakeAll();
  return call;
}

bool Relief::IsDone(const Call& call, absl::Time now) const {
  return call.stale || now >= call.deadline || core_->memory().limit_state().applied();
}

LimitAnswer Relief::Answer(const Call& call, absl::Time now) const {
  const memory::LimitState state = core_->memory().limit_state();
  LimitAnswer answer;
  answer.applied = state.applied();
  answer.limit_bytes = state.limit_bytes;
  answer.held_bytes = state.held_bytes;
  answer.deferred_bytes = state.deferred_bytes();
  answer.stale = call.stale;
  answer.revision = revision_;
  const Sequence* first = First();
  if (!answer.applied && first != nullptr) answer.first_needs_bytes = NeedAlone(*first);
  answer.preempted_count = core_->preemptions_total() - call.preemptions_before;
  answer.ended_count = ended_total_ - call.ended_before;
  answer.pages_unmapped = core_->memory().pages().unmapped_total() - call.unmapped_before;
  answer.held_before_bytes = call.held_before_bytes;
  answer.took = now - call.begun;
  return answer;
}

void Relief::Press(absl::Time now) {
  if (now <= deadline_ || !core_->memory().over_limit()) return;
  deadline_ = now + kHandOverTime;
  span_ = kHandOverTime;
  moves_by_.reset();
}

// ---- who gives way

void Relief::Act(absl::Time now, Outbox* outbox) {
  memory::KvMemory& memory = core_->memory();
  if (core_->device_lost() || !memory.over_limit()) return;
  StopLeaving(core_);
  if (change_.force) ForceOut(now, outbox);
  const bool moving = MovingDoes(now);
  const Victims victims = moving ? Victims() : Choose();
  for (Sequence* victim : victims.sequences) GiveWay(victim);
  // What those that are gone were granted covers pages that can go.
  const int64_t gone_total = core_->preemptions_total() + core_->finished_total();
  const bool anyone_went = gone_total != gone_seen_;
  gone_seen_ = gone_total;
  for (const Lane lane : core_->lanes.all()) windows_->Replan(lane, anyone_went, now, outbox);
  // Now, so that no step submitted from here on keeps the emptied pages.
  const size_t draining_before = DrainingPages(memory);
  memory.Tend(now);
  // Not for those that drained before: their readers' steps will wake it, and the keeper, which
  // comes here too, would wake itself again and again until then.
  if (DrainingPages(memory) > draining_before) core_->wakeups.Wake(Actor::kKeeper);
  if (change_.force && !moving && victims.sequences.empty() && NothingMoves()) {
    EndFirst(now, outbox);
  }
}

// Whether no page is on its way out and nobody is to give way: nothing more will be given back.
bool Relief::NothingMoves() const {
  for (const memory::PagePool* pool : core_->memory().pools()) {
    const int32_t still =
        pool->count(memory::PageState::kMapped) + pool->count(memory::PageState::kQuarantined);
    if (pool->held_pages() > still) return false;
  }
  return !core_->AnyoneYields();
}

// Whether moving blocks of one lane's sequences together may bring held memory under the limit, so
// that nobody need give way. Steps carry the moves: the one in flight must end, and the next one
// with them, in the first half of the deadline. Tried once for a limit.
bool Relief::MovingDoes(absl::Time now) {
  const MemoryOptions& options = core_->options.memory;
  if (options.compact_above_percent == 0) return false;
  const memory::ReleaseNeed need = NeedBeside(WorkspaceBytesWithout({}));
  if (need.blocks > 0 || need.pages == 0) return false;
  if (moves_by_.has_value()) return now < *moves_by_;
  moves_by_ = now;
  for (const Lane which : core_->lanes.all()) {
    const LaneState& lane = core_->lane(which);
    std::vector<const memory::BlockTable*> tables;
    for (const Sequence* sequence : core_->order()) {
      const bool stays = sequence->running() && !sequence->leaving();
      if (stays && core_->lanes.Of(sequence->state()) == which) tables.push_back(&sequence->table);
    }
    const absl::Duration step =
        lane.times.Predict({lane.shape.row_count, lane.shape.context_tokens, lane.other_busy});
    const absl::Time starts = lane.in_flight ? std::max(now, lane.step_started + step) : now;
    const absl::Time ends = starts + 2 * step;  // Predictions err.
    if (tables.empty() || ends > deadline_ - span_ / 2) continue;
    const memory::MovePlan moves =
        core_->memory().PlanMovesOf(tables, need.pages, options.compact_bytes_max);
    if (static_cast<int64_t>(moves.emptied.size()) >= need.pages) moves_by_ = ends;
  }
  return now < *moves_by_;
}

Victims Relief::Choose() const {
  // What workspaces need depends on who stays: first as if nobody but the first did, then for those
  // that this guess leaves.
  std::vector<Sequence*> gone;
  Sequence* const first = First();
  for (Sequence* sequence : core_->order()) {
    if (sequence != first) gone.push_back(sequence);
  }
  Victims guess = PickVictims(core_, NeedBeside(WorkspaceBytesWithout(gone)), VictimScope::kInStep);
  memory::ReleaseNeed need = NeedBeside(WorkspaceBytesWithout(guess.sequences));
  Victims victims = PickVictims(core_, need, VictimScope::kInStep);
  // Nobody has to go beside the workspaces that are left when those of the guess are gone: they go.
  if (victims.possible && victims.sequences.empty() && !core_->AnyoneYields()) return guess;
  if (victims.possible || first == nullptr) return victims;
  // To another server's elder first even ours gives way: it waits, and goes on after that one.
  if (core_->first_yields()) return PickVictims(core_, need, VictimScope::kFirstToo);
  // The first of the order stays, unless it alone would fit, packed, and only lies in too many
  // pages: recomputed, its blocks lie close together.
  const int64_t tokens = static_cast<int64_t>(first->tokens.size());
  const memory::KvGeometry& geometry = core_->memory().geometry();
  const int64_t workspace_bytes =
      core_->WorkspaceBytesAlone(tokens, first->wants_prompt_logprobs());
  if (geometry.BlocksFor(tokens) > core_->LimitBlocks(workspace_bytes)) return victims;
  need = NeedBeside(workspace_bytes);
  // It may lack what it would grow by, which it would lack as much once it is recomputed.
  if (need.pages == 0) return victims;
  // What it gives back it will want again, as far as there is room.
  const BlockCensus::Part part{first->table.block_count()};
  need.blocks +=
      std::min(core_->LimitBlocks(workspace_bytes),
               first->table.block_count() + CandidateOf(core_, *first, part).growth_blocks);
  Victims with_first = PickVictims(core_, need, VictimScope::kFirstToo);
  return with_first.possible ? with_first : victims;
}

// The workspaces for those that run and are not `gone`.
int64_t Relief::WorkspaceBytesWithout(const std::vector<Sequence*>& gone) const {
  std::vector<const Sequence*> staying;
  for (const Sequence* sequence : core_->order()) {
    const bool goes = std::find(gone.begin(), gone.end(), sequence) != gone.end();
    if (sequence->running() && !sequence->leaving() && !goes) staying.push_back(sequence);
  }
  int64_t bytes = 0;
  for (const Lane lane : core_->lanes.all()) {
    bytes += core_->WorkspaceBytes(lane, windows_->ShapeFor(lane, staying));
  }
  return bytes;
}

memory::ReleaseNeed Relief::NeedBeside(int64_t workspace_bytes) const {
  memory::KvMemory& memory = core_->memory();
  const int64_t room_blocks = core_->LimitBlocks(workspace_bytes);
  int64_t wanted_blocks = 0;
  BlockCensus census(memory);
  for (const Sequence* sequence : core_->order()) {
    if (!sequence->running()) continue;
    const BlockCensus::Part part = census.Count(*sequence);
    wanted_blocks += part.held_blocks + CandidateOf(core_, *sequence, part).growth_blocks;
  }
  const int64_t pages_in_use =
      memory.pages().count(memory::PageState::kMapped) - memory.blocks().empty_pages();
  memory::ReleaseNeed need;
  need.blocks = std::max<int64_t>(0, wanted_blocks - room_blocks);
  need.pages =
      std::max<int64_t>(0, pages_in_use - room_blocks / memory.geometry().blocks_per_page());
  return need;
}

void Relief::GiveWay(Sequence* sequence) {
  // The first gives way to be packed anew: it is not to find its blocks where they were.
  if (sequence == *core_->order().begin()) ForgetBlocks(core_, *sequence);
  if (sequence->in_step) {
    sequence->yields = true;
  } else {
    GiveBlocksUp(core_, sequence);
  }
}

// Ends the first running request as long as it alone needs more than the limit.
void Relief::ForceOut(absl::Time now, Outbox* outbox) {
  for (Sequence* first = First(); first != nullptr; first = First()) {
    if (first->owner->forced_out || NeedAlone(*first) <= change_.bytes) return;
    EndFirst(now, outbox);
  }
}

void Relief::EndFirst(absl::Time now, Outbox* outbox) {
  Sequence* const first = First();
  if (first == nullptr || first->owner->forced_out) return;
  first->owner->forced_out = true;
  ++ended_total_;
  std::vector<Sequence*> ending;  // Its other answers too.
  for (Sequence* sequence : core_->order()) {
    if (sequence->owner == first->owner && !sequence->in_step) ending.push_back(sequence);
  }
  for (Sequence* sequence : ending) {
    std::optional<EarlyEnd> end = core_->MustEnd(*sequence, now);
    core_->End(sequence, end->reason, std::move(end->status), -1, now, outbox);
  }
}

Sequence* Relief::First() const {
  for (Sequence* sequence : core_->order()) {
    if (sequence->running()) return sequence;
  }
  return nullptr;
}

// Bytes for its next step: its blocks in as few pages as they fill, and its lane's workspace.
int64_t Relief::NeedAlone(const Sequence& sequence) const {
  const memory::KvGeometry& geometry = core_->memory().geometry();
  const Lane lane = core_->lanes.Of(sequence.state());
  const int64_t blocks = geometry.BlocksFor(static_cast<int64_t>(sequence.tokens.size()));
  return geometry.PagesFor(blocks) * geometry.page_bytes() +
         core_->WorkspaceBytes(lane, windows_->ShapeFor(lane, {&sequence}));
}

// ---- steps in the way

bool Relief::Holds() const { return core_->memory().over_limit() && core_->AnyoneYields(); }

absl::Time Relief::Hurry(absl::Time now) {
  if (now > deadline_ || core_->device_lost() || !core_->memory().over_limit()) {
    return absl::InfiniteFuture();
  }
  // Most of the time is for stopping, reaping and unmapping.
  const absl::Time by = deadline_ - span_ * 3 / 4;
  absl::Time next = absl::InfiniteFuture();
  for (const Lane which : core_->lanes.all()) {
    const LaneState& lane = core_->lane(which);
    if (!lane.in_flight || lane.spared || !StandsInTheWay(which)) continue;
    const absl::Time ends =
        lane.step_started +
        lane.times.Predict({lane.shape.row_count, lane.shape.context_tokens, lane.other_busy});
    if (ends <= by && now < by) {
      next = std::min(next, by);
      continue;
    }
    core_->parts.runner->Abandon(which);
    next = std::min(next, now + kTellAgain);
  }
  return next;
}

bool Relief::StandsInTheWay(Lane which) const {
  const LaneState& lane = core_->lane(which);
  for (const StagedRows& rows : lane.batch) {
    if (rows.sequence->leaving()) return true;
  }
  for (const memory::PagePool* pool : core_->memory().pools()) {
    if (pool->DrainWaitsFor(lane.reader)) return true;
  }
  return false;
}

}  // namespace ebb::engine
