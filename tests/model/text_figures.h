// TextFigures: how far a backend's forward pass is from transformers in float32, over the golden
// texts and continuations of SmolLM2 (tools/golden/smollm2.py).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/dtype.h"
#include "model/llama.h"

namespace ebb::model {

struct TextFigures {
  int64_t positions = 0;
  double reference_perplexity = 0;
  double perplexity = 0;
  double mean_abs_logprob_difference = 0;
  // Mean KL(transformers || us), over the golden top k and "any other token".
  double mean_divergence = 0;
  int64_t different_best_tokens = 0;
  // The largest margin of the reference at a position where our best token is another one.
  double margin_of_worst_flip = 0;

  double PerplexityError() const { return perplexity / reference_perplexity - 1; }
  std::string ToString() const;
};

// The model of the goldens, from the user's cache; CHECK-fails with a hint when it is missing.
std::unique_ptr<LlamaModel> LoadSmolLm2(kernels::Backend* backend);

// Each text is prefilled in chunks of `chunk_tokens`, `thread_count` texts at once.
// REQUIRES: thread_count is 1 unless the backend takes any number of callers in a lane.
TextFigures MeasureTexts(const LlamaModel& model, kernels::DType kv_dtype, int32_t chunk_tokens,
                         int32_t thread_count);

struct ContinuationFigures {
  int64_t tokens = 0;
  int64_t different_tokens = 0;
  double margin_of_worst_flip = 0;
};

// The golden continuations token by token, the golden token going in whatever ours was: after a
// close call both see the same text. All sequences decode in one batch.
ContinuationFigures MeasureContinuations(const LlamaModel& model, kernels::DType kv_dtype);

}  // namespace ebb::model
