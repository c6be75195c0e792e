#include "engine/step_timing.h"

#include <algorithm>
#include <optional>

namespace ebb::engine {
namespace {

memory::StepShape DecodeRowsOf(const std::vector<Sequence*>& sequences) {
  memory::StepShape shape;
  for (const Sequence* sequence : sequences) {
    if (sequence->state() != SequenceState::kDecoding || sequence->copying()) continue;
    ++shape.rows;
    shape.context_tokens += sequence->computed_tokens + 1;
  }
  return shape;
}

// The first `prompt_tokens` tokens of the prompts among the sequences, in order.
void AddPromptRows(const std::vector<Sequence*>& sequences, int64_t prompt_tokens,
                   memory::StepShape* shape) {
  for (const Sequence* sequence : sequences) {
    if (sequence->state() == SequenceState::kDecoding) continue;
    if (sequence->swap.state != SwapState::kNone) continue;  // It has no part in steps.
    const int64_t rows = std::min<int64_t>(prompt_tokens, sequence->remaining_tokens());
    shape->rows += rows;
    shape->context_tokens += rows * sequence->computed_tokens + rows * (rows + 1) / 2;
    prompt_tokens -= rows;
  }
}

}  // namespace

bool OtherExecutes(const EngineCore& core, Lane which) {
  const std::optional<Lane> other = core.lanes.Other(which);
  return other.has_value() && !core.Executing(*other).empty();
}

absl::Duration PredictDecodeStep(const EngineCore& core, Lane which,
                                 const std::vector<Sequence*>& decoding, bool other_busy) {
  memory::StepShape shape = DecodeRowsOf(decoding);
  shape.other_lane_busy = other_busy;
  return core.lane(which).times.Predict(shape);
}

int32_t ChunkTokensMax(const EngineCore& core, Lane which) {
  const std::vector<Sequence*> sequences = core.Executing(which);
  const memory::StepShape decode_rows = DecodeRowsOf(sequences);
  ChunkTiming timing;
  timing.beside_decode_rows = decode_rows.rows > 0;
  timing.predicted_step = [&](int32_t prompt_tokens) {
    memory::StepShape shape = decode_rows;
    AddPromptRows(sequences, prompt_tokens, &shape);
    shape.other_lane_busy = prompt_tokens > 0;
    return core.lane(which).times.Predict(shape);
  };
  return core.parts.policy->ChunkTokensMax(timing);
}

}  // namespace ebb::engine
