// SamplingParams: how a token is chosen from logits. LogitBias: what a request adds to one.
#pragma once

#include <cstdint>

namespace ebb::model {

struct LogitBias {
  int32_t token_id = 0;
  float bias = 0;
};

struct SamplingParams {
  double temperature = 1.0;  // 0 takes the most likely token (the lowest id of equals).
  double top_p = 1.0;        // In (0, 1].
  int32_t top_k = 0;         // 0 is off.
  double min_p = 0.0;        // In [0, 1].
  uint64_t seed = 0;         // Token i of a sequence is drawn with (seed, i).
  // See logit_adjustments.h.
  double repetition_penalty = 1.0;  // Above 0; 1 is off.
  double presence_penalty = 0.0;
  double frequency_penalty = 0.0;
  // Log-probabilities of the chosen token and this many alternatives; -1 is off. They are those of
  // the model, before everything above.
  int32_t logprobs = -1;
  int32_t prompt_logprobs = -1;  // Likewise for prompt tokens after the first.
};

}  // namespace ebb::model
