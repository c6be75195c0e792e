// PagedKv: where the keys and values of every block lie. A plain struct, handed to kernels by
// value.
//
//   base
//   |<------------------ page_bytes ------------------>|<--- next page ...
//   [ layer 0: block 0 .. B-1 ][ layer 1: block 0 .. B-1 ] ... [ layer L-1 ][ padding ]
//
// One page holds B = blocks_per_page blocks of all layers, dense by layer. A block table stores,
// for block b, idx = (b / B) * (page_bytes / layer_block_bytes) + b % B, so that one multiply finds
// any layer's part: the stride between table indices is layer_block_bytes everywhere.
//
// Inside a layer's part of a block, keys come first, then values. Both hold block_tokens tokens:
//   keys    [kv_heads, head_dim, block_tokens]   (a token's key is a column: scores of 16 tokens
//                                                 come from 16 adjacent numbers)
//   values  [kv_heads, block_tokens, head_dim]
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/dtype.h"

namespace ebb::kernels {

struct PagedKv {
  uint8_t* base = nullptr;
  DType dtype = DType::kF16;  // kF32, kF16 or kBF16.
  int32_t layers = 0;
  int32_t kv_heads = 0;
  int32_t head_dim = 0;
  int32_t block_tokens = 0;
  int32_t blocks_per_page = 0;
  int64_t layer_block_bytes = 0;  // One layer's keys and values of one block.

  // Bytes that one layer keeps for one block of this shape.
  static constexpr int64_t LayerBlockBytes(DType dtype, int32_t kv_heads, int32_t head_dim,
                                           int32_t block_tokens) {
    return int64_t{2} * kv_heads * head_dim * block_tokens * TraitsOf(dtype).block_bytes;
  }

  // [kv_heads, head_dim, block_tokens]
  uint8_t* Keys(int32_t layer, int32_t index) const {
    return base + (static_cast<int64_t>(layer) * blocks_per_page + index) * layer_block_bytes;
  }
  // [kv_heads, block_tokens, head_dim]
  uint8_t* Values(int32_t layer, int32_t index) const {
    return Keys(layer, index) + layer_block_bytes / 2;
  }
};

}  // namespace ebb::kernels
