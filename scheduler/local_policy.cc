#include "scheduler/local_policy.h"

#include <algorithm>

namespace ebb::scheduler {

absl::Status LocalPolicy::Accept(const engine::ArrivalView& arrival) const {
  return scheduler::Accept(options_.admission, arrival);
}

std::vector<int32_t> LocalPolicy::PlanChunk(const std::vector<engine::PromptView>& prompts) const {
  std::vector<int32_t> tokens(prompts.size(), 0);
  int32_t chunk_left = options_.chunk_tokens_max;
  int32_t logits_left = options_.logits_rows_max;
  for (size_t i = 0; i < prompts.size() && chunk_left > 0; ++i) {
    const engine::PromptView& prompt = prompts[i];
    int32_t count = std::min({prompt.remaining_tokens, prompt.room_tokens, chunk_left});
    if (prompt.prompt_logprobs) {
      count = std::min(count, logits_left);
      logits_left -= count;
    }
    tokens[i] = count;
    chunk_left -= count;
  }
  return tokens;
}

std::vector<size_t> LocalPolicy::Admit(const engine::AdmissionInput& input) const {
  return scheduler::Admit(options_.admission, input);
}

absl::Time LocalPolicy::NextDecodeStart(const engine::DecodeTiming& timing) const {
  if (!timing.prefill_in_flight) return absl::InfinitePast();
  return timing.last_step_ended + options_.max_gap - timing.predicted_step;
}

int64_t LocalPolicy::ExpectedTokens(int64_t max_tokens, int64_t generated) const {
  const int64_t prior = std::max<int64_t>(options_.growth_prior_tokens, generated);
  return std::min(max_tokens, prior);
}

void LocalPolicy::Observe(engine::Lane lane, const engine::StepShape& shape,
                          absl::Duration duration) {
  (lane == engine::Lane::kPrefill ? prefill_time_ : decode_time_).Observe(shape, duration);
}

absl::Duration LocalPolicy::PredictStep(engine::Lane lane, const engine::StepShape& shape) const {
  return (lane == engine::Lane::kPrefill ? prefill_time_ : decode_time_).Predict(shape);
}

}  // namespace ebb::scheduler
