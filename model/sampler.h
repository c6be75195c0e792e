// Sampler: chooses one token from a row of logits.
//
//   logits -> biases, penalties -> banned ids out -> / temperature -> top_k -> top_p -> min_p
//          -> draw by (seed, index)
//
// The order of the filters is that of Hugging Face transformers: each filter sees the distribution
// that the one before it left, renormalised. Ties are broken by the lowest id everywhere, and a
// draw depends only on the logits, the parameters, the adjustments, the banned ids and (seed,
// index): the kept tokens are walked in the order of their ids until their cumulated probability
// passes base::ToUnit(base::RandomBits(seed, index)).
//
// Stateless functions over the caller's scratch; thread-compatible by scratch.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/logit_adjustments.h"
#include "model/sampling_params.h"

namespace ebb::model {

struct TokenLogprob {
  int32_t token_id = 0;
  float logprob = 0;
};

struct SampledToken {
  int32_t token_id = 0;
  float logprob = 0;              // Valid when SamplingParams::logprobs >= 0.
  std::vector<TokenLogprob> top;  // SamplingParams::logprobs of them, most likely first.
};

struct LogProbsResult {
  float logprob = 0;
  std::vector<TokenLogprob> top;  // Most likely first.
};

// Buffers reused from call to call. Any scratch does for any call.
struct SamplerScratch {
  std::vector<float> logits;
  std::vector<double> weights;
  std::vector<int32_t> ids;
};

// INVALID_ARGUMENT: a parameter is out of its range.
absl::Status CheckSamplingParams(const SamplingParams& params);

// Draws token `index` (from 0) of the sequence that `params.seed` names from `logits`
// [vocabulary], float32 before any softmax. `banned` ids are never chosen; `adjustments` come first
// and name each id at most once (the parameters' penalties are in them: see LogitAdjustments). Ids
// outside the vocabulary have no effect. Log-probabilities are those of the model: before
// adjustments, bans, temperature and filters.
// INVALID_ARGUMENT: a parameter is out of its range. INTERNAL: a logit is NaN or +infinity, also
// when it has been adjusted, or no token is left to choose.
absl::StatusOr<SampledToken> Sample(absl::Span<const float> logits, const SamplingParams& params,
                                    int32_t index, absl::Span<const int32_t> banned,
                                    SamplerScratch* scratch,
                                    absl::Span<const LogitAdjustment> adjustments = {});

// The log-probability of `token_id` under softmax(`logits`) and those of the `top_count` most
// likely tokens (all of them when there are fewer), summed in float64.
// INVALID_ARGUMENT: `token_id` outside the vocabulary or `top_count` negative. INTERNAL: a logit is
// NaN or +infinity, or all are -infinity.
absl::StatusOr<LogProbsResult> LogProbs(absl::Span<const float> logits, int32_t token_id,
                                        int32_t top_count, SamplerScratch* scratch);

}  // namespace ebb::model
