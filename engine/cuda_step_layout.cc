#include "engine/cuda_step_layout.h"

#include <algorithm>

#include "base/check.h"
#include "engine/cuda_step_places.h"

namespace ebb::engine {
namespace {

std::vector<int32_t> BucketsUpTo(int32_t rows_max) {
  CHECK_GT(rows_max, 0);
  std::vector<int32_t> buckets;
  for (int64_t rows = 1; rows < rows_max; rows *= 2) buckets.push_back(static_cast<int32_t>(rows));
  buckets.push_back(rows_max);
  return buckets;
}

int64_t ListEntriesOfSequence(const model::ModelConfig& config, const CudaStepOptions& options) {
  const int64_t blocks =
      (int64_t{config.context_tokens} + options.block_tokens - 1) / options.block_tokens;
  return blocks + options.banned_ids_max;
}

kernels::cuda::DecodeShape DecodeShapeOf(const model::CudaLlama& model,
                                         const CudaStepOptions& options) {
  kernels::cuda::DecodeShape shape;
  shape.heads = model.config().heads;
  shape.kv_heads = model.config().kv_heads;
  shape.block_tokens = options.block_tokens;
  shape.sm_count = model.device()->info().sm_count;
  return shape;
}

}  // namespace

CudaStepPlanner::CudaStepPlanner(const model::CudaLlama* model, const CudaStepOptions& options)
    : model_(model),
      options_(options),
      buckets_(BucketsUpTo(options.running_sequences_max)),
      decode_shape_(DecodeShapeOf(*model, options)),
      list_entries_of_sequence_(ListEntriesOfSequence(model->config(), options)) {
  CHECK_GT(options.block_tokens, 0);
  CHECK_GE(options.banned_ids_max, 0);
}

int32_t CudaStepPlanner::BucketOf(int32_t row_count) const {
  const auto bucket = std::lower_bound(buckets_.begin(), buckets_.end(), row_count);
  return bucket == buckets_.end() ? 0 : *bucket;
}

bool CudaStepPlanner::FitsBucket(Lane lane, const StepShape& shape) const {
  return lane == Lane::kDecode && shape.row_count == shape.sequence_count &&
         BucketOf(shape.row_count) != 0;
}

int32_t CudaStepPlanner::BucketWithin(Lane lane, const StepShape& shape) const {
  if (lane != Lane::kDecode) return 0;
  return BucketOf(std::min({shape.row_count, shape.sequence_count, buckets_.back()}));
}

int64_t CudaStepPlanner::WorkspaceBytes(Lane lane, const StepShape& shape) const {
  const int64_t bytes = LayOut(lane, shape).total_bytes;
  const int32_t bucket = BucketWithin(lane, shape);
  return bucket == 0 ? bytes : std::max(bytes, LayOutBucket(bucket).total_bytes);
}

int64_t CudaStepPlanner::StagingBytes(Lane lane, const StepShape& shape) const {
  const int64_t bytes = LayOut(lane, shape).staging_bytes;
  const int32_t bucket = BucketWithin(lane, shape);
  return bucket == 0 ? bytes : std::max(bytes, LayOutBucket(bucket).staging_bytes);
}

CudaStepLayout CudaStepPlanner::LayOut(Lane lane, const StepShape& shape) const {
  if (FitsBucket(lane, shape)) return LayOutBucket(BucketOf(shape.row_count));
  CudaStepSizes sizes;
  sizes.rows = shape.row_count;
  // A sequence has at least one row; whoever asks ahead of a step may not know which take part.
  sizes.sequences = std::min(shape.sequence_count, shape.row_count);
  sizes.logits_rows = shape.logits_row_count;
  sizes.tiles = static_cast<int32_t>(kernels::cuda::PrefillTilesMax(
      config().heads, config().kv_heads, sizes.rows, sizes.sequences));
  sizes.list_entries = sizes.sequences * list_entries_of_sequence_;
  return LayOutSizes(sizes);
}

CudaStepLayout CudaStepPlanner::LayOutBucket(int32_t bucket) const {
  CudaStepSizes sizes;
  sizes.rows = bucket;
  sizes.sequences = bucket;
  sizes.logits_rows = bucket;
  if (options_.batch_invariant) {
    sizes.tiles = bucket;
  } else {
    sizes.slots = kernels::cuda::DecodeSlotsMax(decode_shape_, bucket, config().context_tokens);
  }
  sizes.list_entries = bucket * list_entries_of_sequence_;
  return LayOutSizes(sizes);
}

CudaStepLayout CudaStepPlanner::LayOutSizes(CudaStepSizes sizes) const {
  CudaStepLayout layout;
  layout.sizes = sizes;
  CudaStepPlaces places;
  layout.ids = places.Take<int32_t>(sizes.rows);
  layout.positions = places.Take<int32_t>(sizes.rows);
  layout.sequence_of_row = places.Take<int32_t>(sizes.rows);
  layout.table_begins = places.Take<int32_t>(sizes.sequences);
  layout.logits_rows = places.Take<int32_t>(sizes.logits_rows);
  layout.sampling = places.Take<EbbCudaSampling>(sizes.logits_rows);
  layout.tiles = places.Take<EbbCudaPrefillTile>(sizes.tiles);
  layout.split_count = places.Take<int32_t>(1);
  layout.splits = places.Take<EbbCudaDecodeSplit>(sizes.slots);
  layout.slot_begins = places.Take<int32_t>(int64_t{sizes.rows} + 1);
  layout.lists = places.Take<int32_t>(sizes.list_entries);
  layout.staging_bytes = places.end();
  layout.sampled = places.Take<EbbCudaSampled>(sizes.logits_rows);
  layout.sample_scratch_bytes =
      model_->device()->api().sample_scratch_bytes(sizes.logits_rows, config().vocab);
  layout.sample_scratch = places.Take<uint8_t>(layout.sample_scratch_bytes);
  layout.pass = places.end();
  layout.total_bytes =
      layout.pass + model_->WorkspaceBytes(
                        {sizes.rows, sizes.logits_rows, sizes.slots, options_.batch_invariant});
  return layout;
}

}  // namespace ebb::engine
