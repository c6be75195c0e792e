#include "engine/largest_step.h"

#include <algorithm>

namespace ebb::engine {

StepShape LargestStep(const LocalEngineOptions& options, Lane lane) {
  StepShape shape;
  if (lane == Lane::kDecode) {
    shape.row_count = options.queue.running_sequences_max;
    shape.logits_row_count = options.queue.running_sequences_max;
  } else {
    shape.row_count = options.step.chunk_tokens_max;
    // Each sequence samples at most one row; rows for prompt log-probabilities come on top.
    shape.logits_row_count =
        std::min(options.step.chunk_tokens_max,
                 options.queue.running_sequences_max + options.step.logits_rows_max);
  }
  shape.sequence_count = std::min(shape.row_count, options.queue.running_sequences_max);
  return shape;
}

}  // namespace ebb::engine
