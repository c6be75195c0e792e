// KvGeometry: how blocks lie in pages, and how a block's number becomes a table index.
//
//   base
//   |<------------------ page_bytes ------------------>|<--- next page ...
//   [ layer 0: block 0 .. B-1 ][ layer 1: block 0 .. B-1 ] ... [ layer L-1 ][ padding ]
//
// The same addressing as kernels/paged_kv.h: with s bytes for one layer's keys and values of one
// block, table index(b) = (b / B) * (page_bytes / s) + b % B, and layer l of it lies at
// base + (l * B + index) * s. So one map call covers all layers and kernels see one stride.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"

namespace ebb::memory {

using BlockId = int32_t;  // From 0, counted over the whole range.
using PageId = int32_t;   // From 0: page p holds blocks p * B .. p * B + B - 1.

struct KvShape {
  int32_t layers = 0;
  int32_t block_tokens = 0;
  int64_t layer_block_bytes = 0;  // s: PagedKv::LayerBlockBytes().
};

// A value. Immutable.
class KvGeometry {
 public:
  // blocks_per_page = 0 chooses B: the smallest power of two whose page has at most 7 % padding and
  // more than 128 KiB for each layer, so that a layer's part is long enough to stream.
  // SmolLM2 in f16 (30 layers, s = 12 KiB): B = 16, 6 MiB. An 8B Llama in bf16 (32 layers,
  // s = 64 KiB): B = 4, 8 MiB.
  // A B that is given need only be positive (small pages make small tests).
  // INVALID_ARGUMENT when a number is not positive, the granularity is no power of two, or a page
  // would pass 4 GiB.
  static absl::StatusOr<KvGeometry> Create(const KvShape& shape, int64_t granularity_bytes,
                                           int32_t blocks_per_page = 0);

  int32_t layers() const { return shape_.layers; }
  int32_t block_tokens() const { return shape_.block_tokens; }
  int64_t layer_block_bytes() const { return shape_.layer_block_bytes; }
  int32_t blocks_per_page() const { return blocks_per_page_; }
  // A multiple of the granularity and of layer_block_bytes().
  int64_t page_bytes() const { return page_bytes_; }
  // One block's keys and values in all layers, without padding.
  int64_t block_bytes() const { return shape_.layers * shape_.layer_block_bytes; }
  // layers * s / block_tokens, rounded up.
  int64_t bytes_per_token() const;

  PageId PageOf(BlockId block) const { return block / blocks_per_page_; }
  // What a block table stores. REQUIRES: block >= 0.
  int32_t TableIndex(BlockId block) const {
    return block / blocks_per_page_ * indices_per_page_ + block % blocks_per_page_;
  }
  // The inverse of TableIndex.
  BlockId BlockOf(int32_t table_index) const {
    return table_index / indices_per_page_ * blocks_per_page_ + table_index % indices_per_page_;
  }
  // Blocks that hold `tokens` tokens. REQUIRES: tokens >= 0.
  int64_t BlocksFor(int64_t tokens) const {
    return (tokens + shape_.block_tokens - 1) / shape_.block_tokens;
  }
  // Pages that hold `blocks` blocks. REQUIRES: blocks >= 0.
  int64_t PagesFor(int64_t blocks) const {
    return (blocks + blocks_per_page_ - 1) / blocks_per_page_;
  }
  // The most pages whose table indices fit into 32 bits.
  int64_t page_count_max() const;

 private:
  KvGeometry(const KvShape& shape, int32_t blocks_per_page, int64_t page_bytes);

  KvShape shape_;
  int32_t blocks_per_page_;
  int64_t page_bytes_;
  int32_t indices_per_page_;  // page_bytes / s.
};

}  // namespace ebb::memory
