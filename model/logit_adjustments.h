// LogitAdjustments: what a request's biases and penalties do to a row of logits, token by token.
//
//   x = logit + bias
//   x = x > 0 ? x / repetition : x * repetition     ids of the prompt or the answer
//   x = x - penalty                                 ids of the answer: presence + frequency * count
//
// Each operation is rounded to float32, here and on a device. The order and the formulas are those
// of vLLM; the repetition penalty is also that of Hugging Face transformers, the presence and
// frequency penalties are OpenAI's. Only ids that something applies to are held, so a step costs
// nothing that grows with the vocabulary, and what is held follows from the prompt and the answer
// alone, however often their keys and values were computed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "model/sampling_params.h"

namespace ebb::model {

// What happens to one token's logit.
struct LogitAdjustment {
  int32_t token_id = 0;
  float bias = 0;
  float repetition = 1;
  float penalty = 0;
};

inline float Adjusted(float logit, const LogitAdjustment& by) {
  float x = logit + by.bias;
  x = x > 0 ? x / by.repetition : x * by.repetition;
  return x - by.penalty;
}

// A sequence owns one. Thread-compatible.
class LogitAdjustments {
 public:
  // Whether these ask for any.
  static bool Needed(const SamplingParams& params, absl::Span<const LogitBias> biases);

  // `biases` name each id at most once.
  LogitAdjustments(const SamplingParams& params, absl::Span<const LogitBias> biases,
                   absl::Span<const int32_t> prompt);

  // The answer has one more token.
  void Add(int32_t token_id);

  // Each id at most once, in the order in which they came.
  absl::Span<const LogitAdjustment> entries() const { return entries_; }
  // The id's place among the entries, or -1.
  int64_t Find(int32_t token_id) const;

 private:
  // The id's place among the entries; an entry is made if there is none.
  size_t PlaceOf(int32_t token_id);

  const float repetition_;
  const double presence_;
  const double frequency_;
  std::vector<LogitAdjustment> entries_;
  std::vector<int32_t> answer_counts_;  // Of each entry's id.
  absl::flat_hash_map<int32_t, size_t> places_;
};

}  // namespace ebb::model
