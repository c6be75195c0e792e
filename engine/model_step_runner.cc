#include "engine/model_step_runner.h"

#include <utility>

#include "absl/types/span.h"
#include "base/check.h"
#include "engine/file_kv_copier.h"
#include "engine/largest_step.h"

namespace ebb::engine {
namespace {

std::vector<TokenLogprob> ToEngine(const std::vector<model::TokenLogprob>& top) {
  std::vector<TokenLogprob> copy;
  copy.reserve(top.size());
  for (const model::TokenLogprob& entry : top) copy.push_back({entry.token_id, entry.logprob});
  return copy;
}

absl::Span<const model::LogitAdjustment> AdjustmentsOf(const SequenceRows& rows) {
  if (rows.adjustments == nullptr) return {};
  return rows.adjustments->entries();
}

}  // namespace

ModelStepRunner::ModelStepRunner(const model::LlamaModel* model, const base::Clock* clock,
                                 const StepRunnerPlace& place)
    : model_(model), clock_(clock), kv_(place.kv) {
  prefill_.workspace = place.prefill;
  decode_.workspace = place.decode;
}

ModelStepRunner::~ModelStepRunner() { WaitIdle(); }

void ModelStepRunner::WaitIdle() {
  for (LaneState* state : {&prefill_, &decode_}) {
    state->stream.Wait(state->stream.submitted());
  }
}

void ModelStepRunner::SetOnDone(std::function<void(Lane lane)> on_done) {
  on_done_ = std::move(on_done);
}

int64_t ModelStepRunner::WorkspaceBytes(Lane, const StepShape& shape) const {
  return static_cast<int64_t>(model_->WorkspaceBytes(shape.row_count, shape.logits_row_count));
}

void ModelStepRunner::Submit(Batch batch) {
  LaneState& state = StateOf(batch.lane);
  {
    base::MutexLock lock(&state.mutex);
    CHECK(!state.in_flight);
    state.in_flight = true;
    state.abandon.store(false, std::memory_order_relaxed);
  }
  const Lane lane = batch.lane;
  state.batch = std::move(batch);
  state.stream.Launch([this, lane, &state] {
    StepResult result = RunStep(&state);
    {
      base::MutexLock lock(&state.mutex);
      state.result = std::move(result);
    }
    // From here on the loop may already be filling the state again.
    if (on_done_) on_done_(lane);
  });
}

std::optional<StepResult> ModelStepRunner::TakeResult(Lane lane) {
  LaneState& state = StateOf(lane);
  base::MutexLock lock(&state.mutex);
  if (!state.result.has_value()) return std::nullopt;
  std::optional<StepResult> result = std::move(state.result);
  state.result.reset();
  state.in_flight = false;
  return result;
}

void ModelStepRunner::Abandon(Lane lane) {
  LaneState& state = StateOf(lane);
  // Under the mutex, so that it cannot fall on a step submitted meanwhile.
  base::MutexLock lock(&state.mutex);
  if (state.in_flight) state.abandon.store(true, std::memory_order_relaxed);
}

// Flattens the batch into the arrays that the kernels take.
void ModelStepRunner::LayOutRows(LaneState* state) {
  state->tokens.clear();
  state->positions.clear();
  state->sequence_of_row.clear();
  state->tables.clear();
  state->logits_rows.clear();
  for (const SequenceRows& rows : state->batch.sequences) {
    const int32_t sequence = static_cast<int32_t>(state->tables.size());
    state->tables.push_back(rows.table.data());
    for (size_t i = 0; i < rows.tokens.size(); ++i) {
      const bool last = i + 1 == rows.tokens.size();
      if (i < rows.targets.size() || (last && rows.sample)) {
        state->logits_rows.push_back(static_cast<int32_t>(state->tokens.size()));
      }
      state->tokens.push_back(rows.tokens[i]);
      state->positions.push_back(rows.first_position + static_cast<int32_t>(i));
      state->sequence_of_row.push_back(sequence);
    }
  }
}

StepResult ModelStepRunner::RunStep(LaneState* state) const {
  StepResult result;
  result.started = clock_->Now();
  kernels::CopyBlocks(kv_, state->batch.moves);
  kernels::CopyBlocks(kv_, state->batch.copies);
  LayOutRows(state);
  model::ForwardInput input;
  input.lane = state->batch.lane;
  input.tokens = state->tokens;
  input.rows.row_count = static_cast<int32_t>(state->tokens.size());
  input.rows.sequence_count = static_cast<int32_t>(state->tables.size());
  input.rows.positions = state->positions.data();
  input.rows.sequence_of_row = state->sequence_of_row.data();
  input.rows.tables = state->tables.data();
  input.kv = kv_;
  input.logits_rows = state->logits_rows;
  const size_t workspace_bytes =
      model_->WorkspaceBytes(input.rows.row_count, static_cast<int32_t>(state->logits_rows.size()));
  CHECK_LE(static_cast<int64_t>(workspace_bytes), state->workspace.bytes);
  input.workspace = absl::MakeSpan(state->workspace.base, workspace_bytes);
  input.abandon = &state->abandon;
  const absl::StatusOr<float*> logits = model_->Forward(input);
  if (logits.ok()) {
    const float* next = *logits;
    for (const SequenceRows& rows : state->batch.sequences) {
      result.sequences.push_back(ReadLogits(rows, &next, &state->scratch));
    }
  }
  result.status = logits.status();
  result.abandoned = absl::IsAborted(result.status);
  result.ended = clock_->Now();
  return result;
}

// Consumes the sequence's rows of logits from *logits on.
SequenceResult ModelStepRunner::ReadLogits(const SequenceRows& rows, const float** logits,
                                           model::SamplerScratch* scratch) const {
  const size_t vocab = static_cast<size_t>(model_->config().vocab);
  SequenceResult result;
  for (size_t i = 0; i < rows.tokens.size(); ++i) {
    const bool wants_target = i < rows.targets.size();
    const bool wants_sample = rows.sample && i + 1 == rows.tokens.size();
    if (!wants_target && !wants_sample) continue;
    const absl::Span<const float> row(*logits, vocab);
    *logits += vocab;
    if (!result.status.ok()) continue;
    if (wants_target) {
      absl::StatusOr<model::LogProbsResult> target =
          model::LogProbs(row, rows.targets[i], rows.sampling.prompt_logprobs, scratch);
      if (!target.ok()) {
        result.status = target.status();
        continue;
      }
      result.prompt_logprobs.push_back({rows.targets[i], target->logprob, ToEngine(target->top)});
    }
    if (wants_sample) {
      absl::StatusOr<model::SampledToken> sampled = model::Sample(
          row, rows.sampling, rows.output_index, rows.banned_ids, scratch, AdjustmentsOf(rows));
      if (!sampled.ok()) {
        result.status = sampled.status();
        continue;
      }
      result.token = {sampled->token_id, rows.output_index, sampled->logprob,
                      ToEngine(sampled->top)};
    }
  }
  return result;
}

int64_t ModelStepRunnerFactory::WorkspaceBytesMax(const LocalEngineOptions& options,
                                                  Lane lane) const {
  const StepShape shape = LargestStep(options, lane);
  if (shape.row_count == 0) return 0;
  return static_cast<int64_t>(model_->WorkspaceBytes(shape.row_count, shape.logits_row_count));
}

absl::StatusOr<std::unique_ptr<StepRunner>> ModelStepRunnerFactory::Make(
    const LocalEngineOptions&, const StepRunnerPlace& place) const {
  return std::make_unique<ModelStepRunner>(model_, clock_, place);
}

absl::StatusOr<std::unique_ptr<KvCopier>> ModelStepRunnerFactory::MakeCopier(
    const LocalEngineOptions& options, const kernels::PagedKv& kv) const {
  return FileKvCopier::Create(options.memory.swap_directory, kv);
}

}  // namespace ebb::engine
