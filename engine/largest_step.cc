#include "engine/largest_step.h"

#include <algorithm>

namespace ebb::engine {

StepShape LargestStep(const LocalEngineOptions& options, Lane lane) {
  const int32_t sequences_max = options.queue.running_sequences_max;
  const bool one = options.queue.queues == Queues::kOne;
  StepShape shape;
  if (one && lane != Lane::kDecode) return shape;
  if (lane == Lane::kDecode) {
    shape.row_count = sequences_max;
    shape.logits_row_count = sequences_max;
  }
  if (lane == Lane::kPrefill || one) {
    shape.row_count += options.step.chunk_tokens_max;
    // Each sequence samples at most one row; rows for prompt log-probabilities come on top.
    shape.logits_row_count =
        std::min(shape.row_count, sequences_max + options.step.logits_rows_max);
  }
  shape.sequence_count = std::min(shape.row_count, sequences_max);
  return shape;
}

}  // namespace ebb::engine
