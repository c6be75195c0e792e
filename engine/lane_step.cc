#include "engine/lane_step.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "engine/forks.h"
#include "engine/prefixes.h"
#include "engine/step_timing.h"
#include "engine/swap_choice.h"

namespace ebb::engine {
namespace {

constexpr absl::Duration kFreeReadingAge = absl::Milliseconds(20);

// What a step came to for one sequence, between the mutex's two holdings.
struct Outcome {
  Sequence* sequence = nullptr;
  bool sampled = false;
  bool has_token = false;
  Token token;
  std::vector<PromptLogprob> prompt_logprobs;  // To be handed to the sink, when send_prompt.
  bool send_prompt = false;
  bool sink_stopped = false;
  std::optional<FinishReason> end;
  absl::Status status;
  int32_t stop_token_id = -1;
};

// Applies the chosen token to the sequence: it ends the answer, or is appended.
void TakeToken(EngineCore* core, Token token, absl::Time ended, Outcome* outcome) {
  Sequence* sequence = outcome->sequence;
  outcome->sampled = true;
  if (sequence->wants_prompt_logprobs()) {
    outcome->send_prompt = true;
    outcome->prompt_logprobs = std::move(sequence->prompt_logprobs);
    sequence->prompt_logprobs_sent = true;
  }
  if (sequence->IsStop(token.id, core->parts.limits.end_ids)) {
    outcome->end = FinishReason::kStop;
    outcome->stop_token_id = token.id;
    return;
  }
  sequence->first_token = std::min(sequence->first_token, ended);
  sequence->Append(token.id);
  ++sequence->made_since_resume;
  outcome->has_token = true;
  outcome->token = std::move(token);
  outcome->token.answer = sequence->answer;
  if (sequence->may_make_tokens(core->parts.limits.context_tokens_max) == 0) {
    outcome->end = FinishReason::kLength;
  }
}

// REQUIRES: the mutex is held.
std::vector<Outcome> ApplyResult(EngineCore* core, Lane which, StepResult result, Outbox* outbox) {
  LaneState& lane = core->lane(which);
  core->memory().readers().Complete(lane.reader, lane.ticket);
  ReturnCopied(core, which);
  lane.last_step_ended = result.ended;
  lane.spared = result.abandoned;
  if (result.abandoned) {
    // As if it had never been submitted: the sequences have the step again, or give way.
    std::vector<Outcome> unchanged(lane.batch.size());
    for (size_t i = 0; i < unchanged.size(); ++i) unchanged[i].sequence = lane.batch[i].sequence;
    return unchanged;
  }
  if (lane.window.has_value()) ++lane.window->steps;
  if (result.device_lost) core->NoteDeviceLost(result.status, outbox);
  if (result.status.ok()) {
    CHECK_EQ(result.sequences.size(), lane.batch.size());
    lane.times.Observe({lane.shape.row_count, lane.shape.context_tokens, lane.other_busy},
                       result.ended - result.started);
    lane.done.Add(lane.shape.row_count, result.ended - result.started);
    core->CountStep(lane.shape.row_count, result.started, result.ended);
  }
  std::vector<Outcome> outcomes;
  for (size_t i = 0; i < lane.batch.size(); ++i) {
    const StagedRows& rows = lane.batch[i];
    Outcome outcome;
    outcome.sequence = rows.sequence;
    const absl::Status& status = result.status.ok() ? result.sequences[i].status : result.status;
    if (!status.ok()) {
      ForgetBlocks(core, *rows.sequence);
      outcome.end = FinishReason::kError;
      outcome.status =
          result.device_lost
              ? core->health()
              : absl::InternalError(absl::StrCat("the step failed: ", status.message()));
    } else {
      SequenceResult& answer = result.sequences[i];
      const bool prefilled = rows.sequence->state() == SequenceState::kPrefilling;
      const int32_t again = std::clamp(
          rows.sequence->recompute_until - rows.sequence->computed_tokens, 0, rows.token_count);
      rows.sequence->computed_tokens += rows.token_count;
      for (PromptLogprob& logprob : answer.prompt_logprobs) {
        rows.sequence->prompt_logprobs.push_back(std::move(logprob));
      }
      SealBlocks(core, rows.sequence);
      if (rows.sample) TakeToken(core, std::move(answer.token), result.ended, &outcome);
      core->CountTokens(prefilled ? rows.token_count : 0, again, outcome.has_token ? 1 : 0);
    }
    outcomes.push_back(std::move(outcome));
  }
  return outcomes;
}

// REQUIRES: the mutex is not held. Nobody else touches these sequences: they are in a step.
void TellSinks(std::vector<Outcome>* outcomes) {
  for (Outcome& outcome : *outcomes) {
    LiveRequest& request = *outcome.sequence->owner;
    // Another answer's token may come from another lane.
    base::MutexLock lock(&request.telling);
    if (outcome.send_prompt) request.sink->OnPromptLogprobs(std::move(outcome.prompt_logprobs));
    if (outcome.has_token) {
      outcome.sink_stopped = request.sink->OnToken(outcome.token) == SinkAnswer::kStop;
    }
  }
}

// REQUIRES: the mutex is held.
void Settle(EngineCore* core, Windows* windows, absl::Time now, Outcome* outcome, Outbox* outbox) {
  Sequence* sequence = outcome->sequence;
  sequence->in_step = false;
  std::optional<EarlyEnd> early = core->MustEnd(*sequence, now);
  if (outcome->sampled && sequence->answers() > 1 && !early.has_value()) {
    // Whether or not this one goes on.
    core->HandOver(sequence, windows->FirstGrowthBlocks(*sequence));
    ForkAnswers(core, sequence);
  }
  const bool at_its_end = outcome->sink_stopped || outcome->end.has_value();
  // A step that ends an answer counts although something else would have ended it by now; not so
  // where other answers are still to come.
  if (early.has_value() && (!at_its_end || sequence->answers() > 1)) {
    core->End(sequence, early->reason, std::move(early->status), -1, now, outbox);
  } else if (outcome->sink_stopped) {
    core->End(sequence, FinishReason::kStop, absl::OkStatus(), -1, now, outbox);
  } else if (outcome->end.has_value()) {
    core->End(sequence, *outcome->end, std::move(outcome->status), outcome->stop_token_id, now,
              outbox);
  } else {
    if (sequence->state() == SequenceState::kPrefilling && outcome->sampled) {
      core->HandOver(sequence, windows->FirstGrowthBlocks(*sequence));
    }
    if (sequence->yields) GiveBlocksUp(core, sequence);
  }
}

// The tokens that follow rows first .. first + count - 1 in the prompt.
std::vector<int32_t> TargetsOf(const Sequence& sequence, int32_t count) {
  const int32_t first = sequence.computed_tokens + 1;
  const int32_t end = std::min(first + count, sequence.prompt_tokens());
  if (!sequence.wants_prompt_logprobs() || first >= end) return {};
  return std::vector<int32_t>(sequence.tokens.begin() + first, sequence.tokens.begin() + end);
}

bool IsMixed(const std::vector<StagedRows>& batch) {
  const auto decoding = std::count_if(batch.begin(), batch.end(), [](const StagedRows& rows) {
    return rows.sequence->state() == SequenceState::kDecoding;
  });
  return decoding > 0 && decoding < static_cast<int64_t>(batch.size());
}

}  // namespace

void RefreshFreeBytes(EngineCore* core, const Windows& windows, Lane which) {
  {
    base::MutexLock lock(&core->mutex);
    LaneState& lane = core->lane(which);
    const absl::Time now = core->Now();
    if (core->device_lost() || lane.in_flight || now < lane.free_read + kFreeReadingAge) return;
    if (!windows.IsDue(which, now)) return;
    lane.free_read = now;
  }
  const absl::StatusOr<int64_t> free_bytes = core->parts.vmm->FreeBytes();
  if (!free_bytes.ok()) return;  // The last reading stands; the keeper reports the failure.
  base::MutexLock lock(&core->mutex);
  core->memory().NoteFreeBytes(*free_bytes, core->Now());
}

void StageRows(EngineCore* core, Sequence* sequence, int32_t token_count, Batch* batch) {
  const int32_t first = sequence->computed_tokens;
  const int32_t end = first + token_count;
  CHECK_GE(token_count, 1);
  CHECK_LE(end, static_cast<int32_t>(sequence->tokens.size()));
  CHECK_LE(end, sequence->table.capacity_tokens());
  SequenceRows rows;
  rows.id = sequence->id;
  rows.first_position = first;
  rows.tokens.assign(sequence->tokens.begin() + first, sequence->tokens.begin() + end);
  const int64_t block_count = core->memory().geometry().BlocksFor(end);
  const absl::Span<const int32_t> indices = sequence->table.indices();
  rows.table.assign(indices.begin(), indices.begin() + block_count);
  rows.sampling = sequence->request.sampling;
  rows.sampling.seed = SeedOfAnswer(rows.sampling.seed, sequence->answer);
  rows.targets = TargetsOf(*sequence, token_count);
  rows.sample = end == static_cast<int32_t>(sequence->tokens.size());
  if (rows.sample) {
    rows.output_index = sequence->generated_tokens();
    rows.banned_ids = sequence->BannedIds(core->parts.limits.end_ids);
    rows.adjustments = sequence->adjustments.get();
  }
  CHECK(!IsShared(*core, *sequence, first)) << "a block of another answer is written";
  CHECK(!sequence->in_step);
  sequence->in_step = true;
  core->lane(batch->lane).batch.push_back({sequence, token_count, rows.sample});
  batch->sequences.push_back(std::move(rows));
}

void StageStep(EngineCore* core, const Batch& batch, absl::Time now) {
  LaneState& lane = core->lane(batch.lane);
  CHECK(!lane.in_flight);
  CHECK(!batch.sequences.empty());
  lane.in_flight = true;
  lane.step_started = now;
  lane.ticket = core->memory().readers().Submit(lane.reader);
  lane.shape = ShapeOf(batch);
  lane.other_busy = OtherExecutes(*core, batch.lane) || IsMixed(lane.batch);
  CHECK_LE(core->parts.runner->WorkspaceBytes(batch.lane, lane.shape),
           core->workspace(batch.lane).usable_bytes());
  for (const StagedRows& rows : lane.batch) {
    rows.sequence->started = std::min(rows.sequence->started, now);
  }
}

bool ReapStep(EngineCore* core, Windows* windows, Lane which) {
  std::optional<StepResult> result = core->parts.runner->TakeResult(which);
  if (!result.has_value()) return false;
  Outbox outbox;
  std::vector<Outcome> outcomes;
  {
    base::MutexLock lock(&core->mutex);
    CHECK(core->lane(which).in_flight);
    outcomes = ApplyResult(core, which, *std::move(result), &outbox);
  }
  TellSinks(&outcomes);
  {
    base::MutexLock lock(&core->mutex);
    const absl::Time now = core->Now();
    for (Outcome& outcome : outcomes) Settle(core, windows, now, &outcome, &outbox);
    LaneState& lane = core->lane(which);
    lane.batch.clear();
    lane.in_flight = false;
    if (core->AnythingDrains()) core->wakeups.Wake(Actor::kKeeper);
    core->limit_changed.SignalAll();
  }
  // Decode may be waiting for prefill's share to be over.
  const Lane decode = core->lanes.Of(SequenceState::kDecoding);
  if (which != decode) core->wakeups.Wake(ActorOf(decode));
  core->Deliver(&outbox);
  return true;
}

}  // namespace ebb::engine
