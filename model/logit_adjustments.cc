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
  size_t index = 0;
  for (const LogitBias& bias : biases) EntryOf(bias.token_id, &index)->bias = bias.bias;
  if (repetition_ == 1) return;
  for (const int32_t id : prompt) EntryOf(id, &index)->repetition = repetition_;
}

void LogitAdjustments::Add(int32_t token_id) {
  if (repetition_ == 1 && presence_ == 0 && frequency_ == 0) return;
  size_t index = 0;
  LogitAdjustment* const entry = EntryOf(token_id, &index);
  entry->repetition = repetition_;
  // From the count, not added to what was there: rounded once.
  entry->penalty = static_cast<float>(presence_ + frequency_ * ++answer_counts_[index]);
}

int64_t LogitAdjustments::Find(int32_t token_id) const {
  const auto it = places_.find(token_id);
  return it == places_.end() ? -1 : static_cast<int64_t>(it->second);
}

LogitAdjustment* LogitAdjustments::EntryOf(int32_t token_id, size_t* index) {
  const auto [it, added] = places_.try_emplace(token_id, entries_.size());
  if (added) {
    entries_.emplace_back().token_id = token_id;
    answer_counts_.push_back(0);
  }
  *index = it->second;
  return &entries_[it->second];
}

}  // namespace ebb::model
