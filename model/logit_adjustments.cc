#include "model/logit_adjustments.h"

namespace ebb::model {

bool LogitAdjustments::Needed(const SamplingParams& params, absl::Span<const LogitBias> biases) {
  return params.repetition_penalty != 1 || params.presence_penalty != 0 ||
         params.frequency_penalty != 0 || !biases.empty();
}

LogitAdjustments::LogitAdjustments(const SamplingParams& params, absl::Span<const LogitBias> biases,
                                   absl::Span<const int32_t> prompt)
    : repetition_(static_cast<float>(params.repetition_penalty)),
      presence_(params.presence_penalty),
      frequency_(params.frequency_penalty) {
  for (const LogitBias& bias : biases) entries_[PlaceOf(bias.token_id)].bias = bias.bias;
  if (repetition_ == 1) return;
  for (const int32_t id : prompt) entries_[PlaceOf(id)].repetition = repetition_;
}

void LogitAdjustments::Add(int32_t token_id) {
  if (repetition_ == 1 && presence_ == 0 && frequency_ == 0) return;
  const size_t place = PlaceOf(token_id);
  LogitAdjustment& entry = entries_[place];
  entry.repetition = repetition_;
  // From the count, not added to what was there: rounded once.
  entry.penalty = static_cast<float>(presence_ + frequency_ * ++answer_counts_[place]);
}

int64_t LogitAdjustments::Find(int32_t token_id) const {
  const auto it = places_.find(token_id);
  return it == places_.end() ? -1 : static_cast<int64_t>(it->second);
}

size_t LogitAdjustments::PlaceOf(int32_t token_id) {
  const auto [it, added] = places_.try_emplace(token_id, entries_.size());
  if (added) {
    entries_.emplace_back().token_id = token_id;
    answer_counts_.push_back(0);
  }
  return it->second;
}

}  // namespace ebb::model
