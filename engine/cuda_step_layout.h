// CudaStepLayout: where everything of a step lies in its lane's workspace.
//
//   workspace                                                        (256-byte aligned parts)
//   [ ids | positions | .. | sampling | lists ][ sampled | sample_scratch ][ the model's pass
//   ............ ]
//     staging: one copy from pinned memory       back       activations, logits, scratch
//
// Decode steps are padded to a bucket of rows, and everything here follows from the bucket: a graph
// captured for it finds its data at the same addresses in every step. The lists (block tables and
// banned ids, of any length up to a maximum) stand last, so that only what is used is copied.
#pragma once

#include <cstdint>
#include <vector>

#include "device/cuda/cuda_api.h"
#include "engine/step_runner.h"
#include "kernels/cuda/attention_plan.h"
#include "model/llama_cuda.h"

namespace ebb::engine {

struct CudaStepOptions {
  // Rows of the largest decode bucket.
  int32_t running_sequences_max = 0;
  int32_t block_tokens = 0;
  // Banned ids of one sequence, at most; what is beyond fails that sequence.
  int32_t banned_ids_max = 0;
  // A token does not depend on the company of its step: one kernel for all row counts.
  bool batch_invariant = false;
  // SMs that a matrix product of prefill plans for, so that decode finds room; 0: all.
  int32_t prefill_sm_target = 0;
};

// What decides a layout.
struct CudaStepSizes {
  int32_t rows = 0;
  int32_t sequences = 0;
  int32_t logits_rows = 0;
  int32_t tiles = 0;  // Of attention by tiles; 0 where it goes by plan.
  int32_t slots = 0;  // Of attention by plan; 0 where it goes by tiles.
  int64_t list_entries = 0;
};

// Bytes from the workspace's base.
struct CudaStepLayout {
  CudaStepSizes sizes;
  int64_t ids = 0;              // int32 [rows]
  int64_t positions = 0;        // int32 [rows]
  int64_t sequence_of_row = 0;  // int32 [rows]
  int64_t table_begins = 0;     // int32 [sequences], into lists
  int64_t logits_rows = 0;      // int32 [logits_rows]
  int64_t sampling = 0;         // EbbCudaSampling [logits_rows]
  int64_t tiles = 0;            // EbbCudaPrefillTile [tiles]
  int64_t split_count = 0;      // int32 [1]
  int64_t splits = 0;           // EbbCudaDecodeSplit [slots]
  int64_t slot_begins = 0;      // int32 [rows + 1]
  int64_t lists = 0;            // int32 [list_entries]
  int64_t staging_bytes = 0;    // All of the above.
  int64_t sampled = 0;          // EbbCudaSampled [logits_rows]
  int64_t sample_scratch = 0;   // Of the choice of tokens.
  int64_t sample_scratch_bytes = 0;
  int64_t pass = 0;  // The model's workspace.
  int64_t total_bytes = 0;
};

// Immutable, so thread-safe. The model outlives it.
class CudaStepPlanner {
 public:
  CudaStepPlanner(const model::CudaLlama* model, const CudaStepOptions& options);

  const CudaStepOptions& options() const { return options_; }
  // Ascending: 1, 2, 4, 8, ... and running_sequences_max.
  const std::vector<int32_t>& buckets() const { return buckets_; }
  // The bucket that holds so many rows; 0 when none does.
  int32_t BucketOf(int32_t row_count) const;
  // What decode attention's splits depend on.
  const kernels::cuda::DecodeShape& decode_shape() const { return decode_shape_; }
  const model::ModelConfig& config() const { return model_->config(); }

  // Whether this is a step of decode's lane with one row for each sequence: it is padded to its
  // bucket and replayed from a graph. With one queue, a step that takes prompts too is not.
  bool FitsBucket(Lane lane, const StepShape& shape) const;
  CudaStepLayout LayOut(Lane lane, const StepShape& shape) const;
  CudaStepLayout LayOutBucket(int32_t bucket) const;
  // Bytes of LayOut for this shape and for every smaller one, which may be padded to a bucket.
  int64_t WorkspaceBytes(Lane lane, const StepShape& shape) const;
  int64_t StagingBytes(Lane lane, const StepShape& shape) const;

 private:
  // The bucket of the largest step within the shape that is padded to one; 0: there is none.
  int32_t BucketWithin(Lane lane, const StepShape& shape) const;
  CudaStepLayout LayOutSizes(CudaStepSizes sizes) const;

  const model::CudaLlama* const model_;
  const CudaStepOptions options_;
  const std::vector<int32_t> buckets_;
  const kernels::cuda::DecodeShape decode_shape_;
  const int64_t list_entries_of_sequence_;
};

}  // namespace ebb::engine
