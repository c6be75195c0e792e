// KvMemory: plain memory laid out as PagedKv, for tests and benches that need no page pool; it
// holds NaN at first.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "kernels/paged_kv.h"
#include "model/model_config.h"

namespace ebb::model {

struct KvShape {
  kernels::DType dtype = kernels::DType::kF16;
  int32_t block_tokens = 16;
  int32_t blocks_per_page = 2;
  int32_t sequence_count = 1;
  int32_t tokens_max = 512;  // For each sequence.
  // Blocks are dealt out in an order that this fixes, so that neighbours in a table are none in
  // memory. 0: in order.
  uint64_t shuffle_seed = 0;
};

// Not thread-safe to make; afterwards only its memory changes.
class KvMemory {
 public:
  KvMemory(const ModelConfig& config, const KvShape& shape) {
    const int64_t layer_block_bytes = kernels::PagedKv::LayerBlockBytes(
        shape.dtype, config.kv_heads, config.head_dim, shape.block_tokens);
    const int64_t blocks = (shape.tokens_max + shape.block_tokens - 1) / shape.block_tokens;
    const int64_t all_blocks = blocks * shape.sequence_count;
    const int64_t pages = (all_blocks + shape.blocks_per_page - 1) / shape.blocks_per_page;
    // One layer block of padding at the end of a page, as a real page may have.
    const int64_t page_stride = int64_t{shape.blocks_per_page} * config.layers + 1;
    const size_t bytes = static_cast<size_t>(pages * page_stride * layer_block_bytes);
    memory_.reset(static_cast<uint8_t*>(std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096)));
    CHECK(memory_ != nullptr);
    // NaN in every type: what is read before it is written shows.
    std::memset(memory_.get(), 0xFF, bytes);

    kv_.base = memory_.get();
    kv_.dtype = shape.dtype;
    kv_.layers = config.layers;
    kv_.kv_heads = config.kv_heads;
    kv_.head_dim = config.head_dim;
    kv_.block_tokens = shape.block_tokens;
    kv_.blocks_per_page = shape.blocks_per_page;
    kv_.layer_block_bytes = layer_block_bytes;

    std::vector<int32_t> indices;
    for (int64_t b = 0; b < all_blocks; ++b) {
      indices.push_back(static_cast<int32_t>(b / shape.blocks_per_page * page_stride +
                                             b % shape.blocks_per_page));
    }
    if (shape.shuffle_seed != 0) Shuffle(shape.shuffle_seed, &indices);
    for (int32_t s = 0; s < shape.sequence_count; ++s) {
      tables_.emplace_back(indices.begin() + s * blocks, indices.begin() + (s + 1) * blocks);
      table_pointers_.push_back(tables_.back().data());
    }
  }

  const kernels::PagedKv& kv() const { return kv_; }
  // [sequence_count], as BatchRows wants them.
  const int32_t* const* tables() const { return table_pointers_.data(); }

 private:
  struct Free {
    void operator()(uint8_t* memory) const { std::free(memory); }
  };

  static void Shuffle(uint64_t seed, std::vector<int32_t>* indices) {
    base::Rng rng(seed);
    for (size_t i = indices->size(); i > 1; --i) {
      const auto other = static_cast<size_t>(rng.Between(0, static_cast<int64_t>(i) - 1));
      std::swap((*indices)[i - 1], (*indices)[other]);
    }
  }

  std::unique_ptr<uint8_t, Free> memory_;
  kernels::PagedKv kv_;
  std::vector<std::vector<int32_t>> tables_;
  std::vector<const int32_t*> table_pointers_;
};

}  // namespace ebb::model
