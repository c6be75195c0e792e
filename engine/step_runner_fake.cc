#include "engine/step_runner_fake.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/rng.h"

namespace ebb::engine {
namespace {

constexpr uint64_t kFoldStart = 0x6562'6266'616b'6501ull;

uint64_t CellOf(uint64_t before, int32_t token) {
  return base::RandomBits(before, static_cast<uint64_t>(token));
}

uint64_t Fold(uint64_t before, uint64_t cell) { return base::Mix64(before ^ cell); }

bool IsBanned(const std::vector<int32_t>& banned, int32_t id) {
  return std::find(banned.begin(), banned.end(), id) != banned.end();
}

// Of what is adjusted by how much, in any order; 0 when nothing is.
uint64_t HashOf(const model::LogitAdjustments* adjustments) {
  if (adjustments == nullptr) return 0;
  uint64_t hash = 0;
  for (const model::LogitAdjustment& entry : adjustments->entries()) {
    uint64_t cell = static_cast<uint64_t>(entry.token_id);
    for (const float part : {entry.bias, entry.repetition, entry.penalty}) {
      uint32_t bits;
      std::memcpy(&bits, &part, sizeof bits);
      cell = base::RandomBits(cell, bits);
    }
    hash += cell;
  }
  return hash;
}

// Greedy takes the hashes alone; sampling mixes in what must fix a draw: seed and output index.
int32_t Choose(uint64_t before, const SamplingParams& sampling, int32_t output_index,
               const std::vector<int32_t>& banned, int32_t vocabulary_size,
               const model::LogitAdjustments* adjustments) {
  uint64_t bits = base::Mix64(before) ^ HashOf(adjustments);
  if (sampling.temperature > 0) {
    bits ^= base::RandomBits(sampling.seed, static_cast<uint64_t>(output_index));
  }
  int32_t id = static_cast<int32_t>(bits % static_cast<uint64_t>(vocabulary_size));
  for (int32_t tries = 0; IsBanned(banned, id); ++tries) {
    CHECK_LT(tries, vocabulary_size) << "every token is banned";
    id = (id + 1) % vocabulary_size;
  }
  return id;
}

float FakeLogprob(uint64_t before, int32_t token) {
  return -static_cast<float>(CellOf(before, token) % 1024) / 64.0f;
}

}  // namespace

int64_t FakeStepRunner::WorkspaceBytes(Lane, const StepShape& shape) const {
  return options_.workspace_row_bytes * (shape.row_count + shape.logits_row_count);
}

void FakeStepRunner::Submit(Batch batch) {
  const Lane lane = batch.lane;
  LaneState& state = lanes_[static_cast<int>(lane)];
  {
    base::MutexLock lock(&state.mutex);
    CHECK(!state.in_flight) << "a lane has one step in flight";
    state.in_flight = true;
    state.abandon = false;
  }
  CHECK(!batch.sequences.empty());
  ++submit_count_;
  state.batch = std::move(batch);
  BeginUses(&state);
  options_.stream[static_cast<int>(lane)]->Launch([this, lane, &state] {
    StepResult result = RunStep(&state);
    {
      base::MutexLock lock(&state.mutex);
      state.result = std::move(result);
    }
    if (on_done_) on_done_(lane);
  });
}

void FakeStepRunner::WaitIdle() {
  for (device::Stream* stream : options_.stream) stream->Wait(stream->submitted());
}

std::optional<StepResult> FakeStepRunner::TakeResult(Lane lane) {
  LaneState& state = lanes_[static_cast<int>(lane)];
  base::MutexLock lock(&state.mutex);
  if (!state.result.has_value()) return std::nullopt;
  std::optional<StepResult> result = std::move(state.result);
  state.result.reset();
  state.in_flight = false;
  return result;
}

void FakeStepRunner::Abandon(Lane lane) {
  LaneState& state = lanes_[static_cast<int>(lane)];
  base::MutexLock lock(&state.mutex);
  if (state.in_flight) state.abandon = true;
}

bool FakeStepRunner::is_told_to_stop(Lane lane) {
  LaneState& state = lanes_[static_cast<int>(lane)];
  base::MutexLock lock(&state.mutex);
  return state.in_flight && state.abandon;
}

void FakeStepRunner::FailNext(Lane lane, absl::Status status) {
  LaneState& state = lanes_[static_cast<int>(lane)];
  base::MutexLock lock(&state.mutex);
  state.fail = std::move(status);
}

void FakeStepRunner::FailNextSequence(Lane lane, absl::Status status) {
  LaneState& state = lanes_[static_cast<int>(lane)];
  base::MutexLock lock(&state.mutex);
  state.fail_sequence = std::move(status);
}

void FakeStepRunner::LoseDevice(absl::Status status) {
  base::MutexLock lock(&loss_mutex_);
  loss_ = std::move(status);
}

// Until the step has completed, the fake device ends the process when one of these is unmapped.
void FakeStepRunner::BeginUses(LaneState* state) {
  const kernels::PagedKv& kv = options_.kv;
  for (const SequenceRows& rows : state->batch.sequences) {
    CHECK(!rows.tokens.empty());
    const int64_t positions = rows.first_position + static_cast<int64_t>(rows.tokens.size());
    CHECK_EQ(static_cast<int64_t>(rows.table.size()),
             (positions + kv.block_tokens - 1) / kv.block_tokens);
    for (const int32_t index : rows.table) {
      for (const int32_t layer : {0, kv.layers - 1}) {
        state->uses.push_back(options_.vmm->BeginUse(kv.Keys(layer, index), kv.layer_block_bytes));
      }
    }
  }
  for (const auto* copies : {&state->batch.moves, &state->batch.copies}) {
    for (const kernels::BlockCopy& copy : *copies) {
      kernels::ForEachPart(kv, copy, [&](uint8_t* to, const uint8_t* from, int64_t bytes) {
        state->uses.push_back(options_.vmm->BeginUse(to, bytes));
        state->uses.push_back(options_.vmm->BeginUse(const_cast<uint8_t*>(from), bytes));
      });
    }
  }
  const int64_t workspace_bytes = WorkspaceBytes(state->batch.lane, ShapeOf(state->batch));
  state->uses.push_back(options_.vmm->BeginUse(
      options_.workspace_base[static_cast<int>(state->batch.lane)], workspace_bytes));
}

StepResult FakeStepRunner::RunStep(LaneState* state) {
  StepResult result;
  absl::Status fail_sequence;
  {
    base::MutexLock lock(&state->mutex);
    result.status = std::exchange(state->fail, absl::OkStatus());
    fail_sequence = std::exchange(state->fail_sequence, absl::OkStatus());
    if (!result.status.ok() || !fail_sequence.ok()) ++failed_count_;
    if (result.status.ok() && state->abandon) {
      result.status = absl::AbortedError("abandoned");
      result.abandoned = true;
    }
  }
  {
    base::MutexLock lock(&loss_mutex_);
    result.device_lost = !loss_.ok();
    if (result.device_lost) result.status = loss_;
    if (result.device_lost) result.abandoned = false;
  }
  result.started = options_.clock->Now();
  // A step is abandoned between layers: its copies, which come first, have been made.
  if (result.status.ok() || result.abandoned) {
    MoveBlocks(state->batch.moves);
    kernels::CopyBlocks(options_.kv, state->batch.copies);
  }
  if (result.abandoned) {
    ++abandoned_count_;
    for (const SequenceRows& rows : state->batch.sequences) SpoilCells(rows);
  }
  if (result.status.ok()) {
    // A step leaves rubbish in its workspace, as a real one does.
    std::memset(options_.workspace_base[static_cast<int>(state->batch.lane)], 0x5A,
                WorkspaceBytes(state->batch.lane, ShapeOf(state->batch)));
    for (const SequenceRows& rows : state->batch.sequences) {
      result.sequences.push_back(RunSequence(rows));
    }
    if (!fail_sequence.ok()) result.sequences[0].status = fail_sequence;
  }
  for (const uint64_t use : state->uses) options_.vmm->EndUse(use);
  state->uses.clear();
  result.ended = options_.clock->Now();
  return result;
}

// Leaves rubbish where the blocks were, so that whoever still reads there gets other tokens.
void FakeStepRunner::MoveBlocks(const std::vector<kernels::BlockCopy>& moves) const {
  kernels::CopyBlocks(options_.kv, moves);
  for (const kernels::BlockCopy& move : moves) {
    for (int32_t layer = 0; layer < options_.kv.layers; ++layer) {
      std::memset(options_.kv.Keys(layer, move.from), 0xA5, options_.kv.layer_block_bytes);
    }
  }
}

void FakeStepRunner::SpoilCells(const SequenceRows& rows) const {
  const kernels::PagedKv& kv = options_.kv;
  for (size_t i = 0; i < rows.tokens.size(); ++i) {
    const int32_t position = rows.first_position + static_cast<int32_t>(i);
    const int32_t index = rows.table[position / kv.block_tokens];
    const int64_t offset = position % kv.block_tokens * static_cast<int64_t>(sizeof(uint64_t));
    std::memset(kv.Keys(0, index) + offset, 0xA5, sizeof(uint64_t));
    std::memset(kv.Values(kv.layers - 1, index) + offset, 0xC3, sizeof(uint64_t));
  }
}

SequenceResult FakeStepRunner::RunSequence(const SequenceRows& rows) const {
  const kernels::PagedKv& kv = options_.kv;
  const auto keys = [&](int32_t position) {
    return kv.Keys(0, rows.table[position / kv.block_tokens]) +
           position % kv.block_tokens * sizeof(uint64_t);
  };
  const auto values = [&](int32_t position) {
    return kv.Values(kv.layers - 1, rows.table[position / kv.block_tokens]) +
           position % kv.block_tokens * sizeof(uint64_t);
  };
  uint64_t before = kFoldStart;
  for (int32_t position = 0; position < rows.first_position; ++position) {
    uint64_t key_cell;
    uint64_t value_cell;
    std::memcpy(&key_cell, keys(position), sizeof key_cell);
    std::memcpy(&value_cell, values(position), sizeof value_cell);
    // Both copies count: when they differ, the fold is another one.
    before = Fold(before, key_cell) ^ key_cell ^ value_cell;
  }
  SequenceResult result;
  for (size_t i = 0; i < rows.tokens.size(); ++i) {
    const uint64_t cell = CellOf(before, rows.tokens[i]);
    const int32_t position = rows.first_position + static_cast<int32_t>(i);
    std::memcpy(keys(position), &cell, sizeof cell);
    std::memcpy(values(position), &cell, sizeof cell);
    before = Fold(before, cell);
    if (i < rows.targets.size()) {
      PromptLogprob logprob;
      logprob.token_id = rows.targets[i];
      logprob.logprob = FakeLogprob(before, rows.targets[i]);
      for (int32_t n = 0; n < rows.sampling.prompt_logprobs; ++n) logprob.top.push_back({n, -1});
      result.prompt_logprobs.push_back(std::move(logprob));
    }
  }
  if (rows.sample) {
    result.token.index = rows.output_index;
    result.token.id = Choose(before, rows.sampling, rows.output_index, rows.banned_ids,
                             options_.vocabulary_size, rows.adjustments);
    result.token.logprob = FakeLogprob(before, result.token.id);
    for (int32_t n = 0; n < rows.sampling.logprobs; ++n) {
      result.token.top.push_back({n, FakeLogprob(before, n)});
    }
  }
  return result;
}

int32_t FakeStepRunner::NextToken(const std::vector<int32_t>& tokens, int32_t output_index,
                                  const SamplingParams& sampling,
                                  const std::vector<int32_t>& banned, int32_t vocabulary_size,
                                  const model::LogitAdjustments* adjustments) {
  uint64_t before = kFoldStart;
  for (const int32_t token : tokens) before = Fold(before, CellOf(before, token));
  return Choose(before, sampling, output_index, banned, vocabulary_size, adjustments);
}

float FakeStepRunner::LogprobOf(const std::vector<int32_t>& tokens, int32_t next) {
  uint64_t before = kFoldStart;
  for (const int32_t token : tokens) before = Fold(before, CellOf(before, token));
  return FakeLogprob(before, next);
}

}  // namespace ebb::engine
