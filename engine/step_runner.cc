#include "engine/step_runner.h"

namespace ebb::engine {

StepShape ShapeOf(const Batch& batch) {
  StepShape shape;
  shape.sequence_count = static_cast<int32_t>(batch.sequences.size());
  for (const SequenceRows& rows : batch.sequences) {
    const int64_t count = static_cast<int64_t>(rows.tokens.size());
    shape.row_count += static_cast<int32_t>(count);
    // Row i attends to first_position + i + 1 positions.
    shape.context_tokens += count * rows.first_position + count * (count + 1) / 2;
    int64_t logits_rows = static_cast<int64_t>(rows.targets.size());
    // The last row may be both a target's row and sampled.
    if (rows.sample && logits_rows < count) ++logits_rows;
    shape.logits_row_count += static_cast<int32_t>(logits_rows);
  }
  return shape;
}

}  // namespace ebb::engine
