// KvPool: keys and values for the GPU benches, in one of several layouts, in one allocation or in
// mapped pages. Filled with random numbers.
//
//   kUniform      pages dense by layer, one stride between table indices (the engine's)
//   kPerLayer     one region for each layer
//   kBlockMajor   all layers of a block adjacent
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "bench/gpu/gpu_bench.h"
#include "device/cuda/cuda_vmm.h"

namespace ebb::bench {

enum class KvLayout { kUniform, kPerLayer, kBlockMajor };

// A list of table indices for each sequence.
using BlockTables = std::vector<std::vector<int32_t>>;

class KvPool {
 public:
  struct Options {
    int32_t layers = 0;
    int32_t kv_heads = 0;
    int32_t head_dim = 0;
    int32_t block_tokens = 16;
    int32_t blocks = 0;
    KvLayout layout = KvLayout::kUniform;
    // Mapped page by page through the driver's virtual memory calls, with one page more that Flip
    // maps and unmaps. Needs kUniform.
    bool elastic = false;
  };

  KvPool(Gpu* gpu, const Options& options);
  ~KvPool();
  KvPool(const KvPool&) = delete;
  KvPool& operator=(const KvPool&) = delete;

  const EbbCudaKv& kv() const { return kv_; }
  int64_t page_bytes() const { return page_bytes_; }
  // The table index of a block.
  int32_t IndexOf(int32_t block) const {
    return block / blocks_per_page_ * indices_per_page_ + block % blocks_per_page_;
  }
  // Unmaps the spare page, its memory goes back, and maps new memory there.
  // REQUIRES: elastic, and no work is running.
  void Flip();

  // Block tables of `sequences` sequences of `blocks_each` blocks, taken in turn, as sequences that
  // grow side by side take them. REQUIRES: the pool has so many blocks.
  BlockTables TablesOf(int32_t sequences, int32_t blocks_each) const;
  // Bytes from kv().base on that hold blocks.
  int64_t bytes() const { return pages_ * page_bytes_; }

 private:
  void MapPage(int64_t page);
  void UnmapPage(int64_t page);

  Gpu* const gpu_;
  EbbCudaKv kv_ = {};
  int32_t blocks_per_page_ = 1;
  int32_t indices_per_page_ = 1;
  int64_t page_bytes_ = 0;
  int64_t pages_ = 0;
  device::CudaBuffer fixed_;
  std::unique_ptr<device::CudaVmm> vmm_;
  uint8_t* base_ = nullptr;
  std::vector<device::VmmHandle> handles_;
};

}  // namespace ebb::bench
