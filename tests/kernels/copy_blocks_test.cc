#include "kernels/copy_blocks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/rng.h"

namespace ebb::kernels {
namespace {

// Every byte of the copied blocks goes over, in all layers, and no other byte changes.
TEST(CopyBlocksTest, AllLayersOfTheBlockAndNothingElse) {
  constexpr int32_t kPages = 3;
  PagedKv kv;
  kv.dtype = DType::kF16;
  kv.layers = 3;
  kv.kv_heads = 2;
  kv.head_dim = 4;
  kv.block_tokens = 8;
  kv.blocks_per_page = 4;
  kv.layer_block_bytes = PagedKv::LayerBlockBytes(kv.dtype, 2, 4, 8);
  const int64_t indices_per_page = 3 * 4 + 1;  // One of padding.
  std::vector<uint8_t> pool(kPages * indices_per_page * kv.layer_block_bytes);
  base::Rng rng(1);
  for (uint8_t& byte : pool) byte = static_cast<uint8_t>(rng.Bits());
  kv.base = pool.data();
  const auto index = [&](int32_t block) {
    return static_cast<int32_t>(block / 4 * indices_per_page + block % 4);
  };
  // By hand: layer l of block b lies in its page at (l * B + b % B) * s.
  std::vector<uint8_t> expected = pool;
  const auto at = [&](int32_t block, int32_t layer) {
    return (block / 4 * indices_per_page + layer * 4 + block % 4) * kv.layer_block_bytes;
  };
  const std::vector<BlockCopy> copies = {{index(9), index(2)}, {index(10), index(7)}};
  for (int32_t layer = 0; layer < kv.layers; ++layer) {
    std::copy_n(pool.begin() + at(9, layer), kv.layer_block_bytes, expected.begin() + at(2, layer));
    std::copy_n(pool.begin() + at(10, layer), kv.layer_block_bytes,
                expected.begin() + at(7, layer));
  }
  CopyBlocks(kv, copies);
  EXPECT_EQ(pool, expected);
}

}  // namespace
}  // namespace ebb::kernels
