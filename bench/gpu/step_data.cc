#include "bench/gpu/step_data.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"

namespace ebb::bench {

StepData StepData::Decode(Gpu* gpu, const EbbCudaKv& kv, int32_t heads, const BlockTables& tables,
                          const std::vector<int32_t>& lengths) {
  CHECK_EQ(tables.size(), lengths.size());
  StepData step;
  step.rows_ = static_cast<int32_t>(lengths.size());
  std::vector<int32_t> rows(lengths.size());
  std::iota(rows.begin(), rows.end(), 0);
  step.sequence_of_row_ = gpu->Upload(rows);
  std::vector<int32_t> positions;
  for (const int32_t length : lengths) positions.push_back(length - 1);
  step.positions_ = gpu->Upload(positions);
  step.UploadTables(gpu, tables);

  kernels::cuda::DecodeShape shape;
  shape.heads = heads;
  shape.kv_heads = kv.kv_heads;
  shape.block_tokens = kv.block_tokens;
  shape.sm_count = gpu->device().info().sm_count;
  step.slots_max_ = kernels::cuda::DecodeSlotsMax(
      shape, step.rows_, *std::max_element(lengths.begin(), lengths.end()));
  kernels::cuda::DecodePlan plan;
  kernels::cuda::PlanDecode(shape, lengths, step.slots_max_, &plan);
  step.split_count_ = gpu->Upload(std::vector<int32_t>{static_cast<int32_t>(plan.splits.size())});
  step.splits_ = gpu->Upload(plan.splits);
  step.slot_begins_ = gpu->Upload(plan.slot_begins);

  std::vector<kernels::cuda::PrefillRows> tile_rows;
  for (int32_t s = 0; s < step.rows_; ++s) tile_rows.push_back({s, s, 1, positions[s]});
  step.UploadTiles(gpu, kv, heads, tile_rows);
  return step;
}

StepData StepData::Prefill(Gpu* gpu, const EbbCudaKv& kv, int32_t heads,
                           const std::vector<int32_t>& table, int32_t first_position,
                           int32_t rows) {
  StepData step;
  step.rows_ = rows;
  std::vector<int32_t> positions(static_cast<size_t>(rows));
  std::iota(positions.begin(), positions.end(), first_position);
  step.positions_ = gpu->Upload(positions);
  step.sequence_of_row_ = gpu->Upload(std::vector<int32_t>(positions.size(), 0));
  step.UploadTables(gpu, {table});
  step.UploadTiles(gpu, kv, heads, {{0, 0, rows, first_position}});
  return step;
}

void StepData::UploadTiles(Gpu* gpu, const EbbCudaKv& kv, int32_t heads,
                           const std::vector<kernels::cuda::PrefillRows>& rows) {
  std::vector<EbbCudaPrefillTile> tiles;
  kernels::cuda::PlanPrefillTiles(heads, kv.kv_heads, rows, &tiles);
  tile_count_ = static_cast<int32_t>(tiles.size());
  tiles_ = gpu->Upload(tiles);
}

void StepData::UploadTables(Gpu* gpu, const BlockTables& tables) {
  std::vector<int32_t> indices;
  std::vector<int32_t> begins;
  for (const std::vector<int32_t>& table : tables) {
    begins.push_back(static_cast<int32_t>(indices.size()));
    indices.insert(indices.end(), table.begin(), table.end());
  }
  indices_ = gpu->Upload(indices);
  begins_ = gpu->Upload(begins);
}

}  // namespace ebb::bench
