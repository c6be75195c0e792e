// StepData: what the attention kernels of one step are given, in device memory: a decode step of
// one row for each sequence, or some rows of one sequence's prompt.
#pragma once

#include <cstdint>
#include <vector>

#include "bench/gpu/gpu_bench.h"
#include "bench/gpu/kv_pool.h"
#include "kernels/cuda/attention_plan.h"

namespace ebb::bench {

class StepData {
 public:
  // Row s is the last position of sequence s, which is lengths[s] long. With a plan for the decode
  // kernel, and tiles of a row each for the prefill kernel.
  static StepData Decode(Gpu* gpu, const EbbCudaKv& kv, int32_t heads, const BlockTables& tables,
                         const std::vector<int32_t>& lengths);
  // `rows` rows of one sequence from first_position on.
  static StepData Prefill(Gpu* gpu, const EbbCudaKv& kv, int32_t heads,
                          const std::vector<int32_t>& table, int32_t first_position, int32_t rows);

  // Blocks of so many sequences, each so long.
  static int32_t BlocksOf(int32_t sequences, int32_t length, int32_t block_tokens) {
    return sequences * ((length + block_tokens - 1) / block_tokens);
  }

  int32_t rows() const { return rows_; }
  int32_t slots_max() const { return slots_max_; }
  int32_t tile_count() const { return tile_count_; }
  const int32_t* positions() const { return positions_.As<int32_t>(); }
  const int32_t* sequence_of_row() const { return sequence_of_row_.As<int32_t>(); }
  const EbbCudaPrefillTile* tiles() const { return tiles_.As<EbbCudaPrefillTile>(); }
  EbbCudaTables tables() const { return {indices_.As<int32_t>(), begins_.As<int32_t>()}; }
  EbbCudaDecodePlan plan() const {
    return {split_count_.As<int32_t>(), splits_.As<EbbCudaDecodeSplit>(),
            slot_begins_.As<int32_t>()};
  }

 private:
  void UploadTables(Gpu* gpu, const BlockTables& tables);
  void UploadTiles(Gpu* gpu, const EbbCudaKv& kv, int32_t heads,
                   const std::vector<kernels::cuda::PrefillRows>& rows);

  int32_t rows_ = 0;
  int32_t slots_max_ = 0;
  int32_t tile_count_ = 0;
  device::CudaBuffer positions_;
  device::CudaBuffer sequence_of_row_;
  device::CudaBuffer indices_;
  device::CudaBuffer begins_;
  device::CudaBuffer tiles_;
  device::CudaBuffer split_count_;
  device::CudaBuffer splits_;
  device::CudaBuffer slot_begins_;
};

}  // namespace ebb::bench
