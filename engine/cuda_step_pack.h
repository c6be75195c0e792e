// A step's varying data in one block of pinned memory, and what the device answers for it.
//
//   Batch ──PackStep──> staging block ──(one copy)──> device
//                           results <──ReadSampled──(one copy)──┘
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/cuda_step_layout.h"
#include "engine/step_runner.h"
#include "kernels/cuda/attention_plan.h"

namespace ebb::engine {

// A row of logits whose token is chosen in a second pass, after its logits have been adjusted.
struct AdjustedRow {
  size_t sequence = 0;  // Of the batch.
  int32_t logits_row = 0;
  EbbCudaSampling sampling = {};
};

// What the launching code and the reading of results must know of a packed step.
struct PackedStep {
  CudaStepLayout layout;
  bool in_bucket = false;        // Padded, attention as the bucket has it.
  int32_t logits_row_count = 0;  // Without padding.
  int32_t tile_count = 0;
  int64_t copy_bytes = 0;  // From the block's start: what the device needs of it.
  // For each sequence: not OK when the kernels cannot do what it asks. Its rows run, for the
  // company's sake, and choose nothing.
  std::vector<absl::Status> sequence_status;
  // In these rows the step itself chooses no token; it gives what log-probabilities need.
  std::vector<AdjustedRow> adjusted;
};

// Of a row that nobody asks anything of.
EbbCudaSampling NoSampling();
// Of a row that the kernels have read.
absl::Status RowStatus(const EbbCudaSampled& sampled);

// Reused from step to step.
struct PackScratch {
  std::vector<kernels::cuda::PrefillRows> rows;
  std::vector<EbbCudaPrefillTile> tiles;
  std::vector<int32_t> lengths;
  kernels::cuda::DecodePlan plan;
};

// Writes the block. REQUIRES: the batch has rows, token ids and positions are the model's,
// `staging` has the staging_bytes of the batch's layout.
PackedStep PackStep(const CudaStepPlanner& planner, const Batch& batch, uint8_t* staging,
                    PackScratch* scratch);

// What the step says of each sequence, but for the tokens of adjusted rows. `sampled` has the
// packed step's logits rows.
std::vector<SequenceResult> ReadSampled(const Batch& batch, const PackedStep& packed,
                                        const EbbCudaSampled* sampled);

}  // namespace ebb::engine
