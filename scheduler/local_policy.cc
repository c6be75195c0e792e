#include "scheduler/local_policy.h"

#include <algorithm>

#include "scheduler/learned_lengths.h"

namespace ebb::scheduler {

LocalPolicyOptions LocalPolicy::OptionsFrom(const engine::LocalEngineOptions& options) {
  LocalPolicyOptions mine;
  mine.admission.queue_requests_max = options.queue.queue_requests_max;
  mine.admission.queue_prompt_tokens_max = options.queue.queue_prompt_tokens_max;
  mine.admission.running_sequences_max = options.queue.running_sequences_max;
  mine.admission.deviations = options.queue.growth_deviations_percent / 100.0;
  mine.admission.resident_ahead = options.prefix_cache.ahead;
  mine.chunk_tokens_max = options.step.chunk_tokens_max;
  mine.logits_rows_max = options.step.logits_rows_max;
  mine.max_gap = options.step.max_gap;
  mine.growth_prior_tokens = options.queue.growth_prior_tokens;
  return mine;
}

absl::Status LocalPolicy::Accept(const engine::ArrivalView& arrival) const {
  return scheduler::Accept(options_.admission, arrival);
}

int32_t LocalPolicy::ChunkTokensMax(const engine::ChunkTiming& timing) const {
  if (!timing.beside_decode_rows) return options_.chunk_tokens_max;
  const absl::Duration decode_step = timing.predicted_step(0);
  const absl::Duration longest =
      std::max(options_.max_gap, decode_step + PrefillShare(decode_step));
  // The most that fit: more tokens are predicted to take longer.
  int32_t fit = 1;
  int32_t too_many = options_.chunk_tokens_max + 1;
  while (too_many - fit > 1) {
    const int32_t tokens = fit + (too_many - fit) / 2;
    (timing.predicted_step(tokens) <= longest ? fit : too_many) = tokens;
  }
  return fit;
}

std::vector<int32_t> LocalPolicy::PlanChunk(const std::vector<engine::PromptView>& prompts,
                                            int32_t chunk_tokens_max) const {
  std::vector<int32_t> tokens(prompts.size(), 0);
  int32_t chunk_left = chunk_tokens_max;
  int32_t logits_left = options_.logits_rows_max;
  // First no prompt takes more than three quarters, so that short ones need not wait until a long
  // one is done; then what is left goes round again.
  const int32_t share = chunk_left - chunk_left / 4;
  for (const int32_t tokens_max : {share, chunk_tokens_max}) {
    for (size_t i = 0; i < prompts.size() && chunk_left > 0; ++i) {
      const engine::PromptView& prompt = prompts[i];
      int32_t more =
          std::min({prompt.remaining_tokens, prompt.room_tokens, tokens_max}) - tokens[i];
      more = std::clamp(more, 0, chunk_left);
      if (prompt.prompt_logprobs) {
        more = std::min(more, logits_left);
        logits_left -= more;
      }
      tokens[i] += more;
      chunk_left -= more;
    }
  }
  return tokens;
}

std::vector<size_t> LocalPolicy::Admit(const engine::AdmissionInput& input) const {
  return scheduler::Admit(options_.admission, input);
}

absl::Time LocalPolicy::NextDecodeStart(const engine::DecodeTiming& timing) const {
  if (!timing.prefill_in_flight) return absl::InfinitePast();
  return timing.last_step_ended +
         std::max(options_.max_gap - timing.predicted_step, PrefillShare(timing.predicted_step));
}

absl::Duration LocalPolicy::PrefillShare(absl::Duration decode_step) const {
  // One part in kPrefillShare of a step; but a prediction that is far too high must not keep decode
  // waiting for longer than the gap.
  constexpr int64_t kPrefillShare = 4;
  return std::min(decode_step / kPrefillShare, options_.max_gap);
}

std::unique_ptr<engine::LengthPredictor> LocalPolicy::MakeLengthPredictor() const {
  LearnedLengthsOptions options;
  options.prior_tokens = options_.growth_prior_tokens;
  return std::make_unique<LearnedLengths>(options, options_.lengths);
}

}  // namespace ebb::scheduler
