#include "memory/kv_geometry.h"

#include <gtest/gtest.h>

#include <set>

#include "base/rng.h"
#include "kernels/paged_kv.h"
#include "tests/memory/seed.h"

namespace ebb::memory {
namespace {

constexpr int64_t kKiB = 1024;
constexpr int64_t kMiB = 1024 * kKiB;

TEST(KvGeometryTest, SmolLm2InF16HasPagesOfSixMiB) {
  const int64_t s =
      kernels::PagedKv::LayerBlockBytes(kernels::DType::kF16, /*kv_heads=*/3, /*head_dim=*/64, 16);
  ASSERT_EQ(s, 12 * kKiB);
  const KvGeometry geometry = KvGeometry::Create({30, 16, s}, 2 * kMiB).value();
  EXPECT_EQ(geometry.blocks_per_page(), 16);
  EXPECT_EQ(geometry.page_bytes(), 6 * kMiB);
  EXPECT_EQ(geometry.bytes_per_token(), 30 * 2 * 3 * 64 * 2);
}

TEST(KvGeometryTest, LlamaOfEightBillionInBf16HasPagesOfEightMiB) {
  const KvGeometry geometry = KvGeometry::Create({32, 16, 64 * kKiB}, 2 * kMiB).value();
  EXPECT_EQ(geometry.blocks_per_page(), 4);
  EXPECT_EQ(geometry.page_bytes(), 8 * kMiB);
}

TEST(KvGeometryTest, WhatCannotBeIsRefused) {
  for (const KvShape& shape : {KvShape{0, 16, 512}, KvShape{2, 0, 512}, KvShape{2, 16, 0},
                               KvShape{1 << 20, 16, int64_t{1} << 40}}) {
    EXPECT_EQ(KvGeometry::Create(shape, 4096).status().code(), absl::StatusCode::kInvalidArgument);
  }
  const KvShape good{2, 16, 512};
  EXPECT_FALSE(KvGeometry::Create(good, 0).ok());
  EXPECT_FALSE(KvGeometry::Create(good, 3000).ok());
  EXPECT_FALSE(KvGeometry::Create(good, 4096, -1).ok());
  EXPECT_FALSE(KvGeometry::Create(good, 4096, 1 << 30).ok());
  // lcm(s, granularity) beyond 64 bits.
  EXPECT_FALSE(KvGeometry::Create({1, 1, (int64_t{1} << 62) - 1}, int64_t{1} << 40).ok());
}

// The rule for B, and that every address agrees with the kernels' own arithmetic.
TEST(KvGeometryRandomTest, PagesAreTheSmallestGoodOnesAndKernelsFindEveryBlock) {
  base::Rng rng(TestSeed(1));
  for (int round = 0; round < 300; ++round) {
    const KvShape shape{static_cast<int32_t>(rng.Between(1, 90)),
                        static_cast<int32_t>(rng.Between(1, 64)), rng.Between(1, 256) * 256};
    const int64_t granularity = int64_t{1} << rng.Between(12, 21);
    const absl::StatusOr<KvGeometry> made = KvGeometry::Create(shape, granularity);
    if (!made.ok()) continue;  // A page would pass 4 GiB.
    const KvGeometry& geometry = *made;
    const int64_t s = shape.layer_block_bytes;
    const int32_t b = geometry.blocks_per_page();
    EXPECT_EQ(b & (b - 1), 0);
    EXPECT_EQ(geometry.page_bytes() % granularity, 0);
    EXPECT_EQ(geometry.page_bytes() % s, 0);
    const auto good = [&](int32_t blocks) {
      const int64_t page = KvGeometry::Create(shape, granularity, blocks)->page_bytes();
      return (page - blocks * s * shape.layers) * 100 <= page * 7 && blocks * s > 128 * kKiB;
    };
    EXPECT_TRUE(good(b));
    for (int32_t smaller = 1; smaller < b; smaller *= 2) EXPECT_FALSE(good(smaller)) << smaller;

    kernels::PagedKv kv;
    kv.layers = shape.layers;
    kv.blocks_per_page = b;
    kv.layer_block_bytes = s;
    for (int i = 0; i < 20; ++i) {
      const BlockId block = static_cast<BlockId>(rng.Between(0, 4 * b - 1));
      const int32_t layer = static_cast<int32_t>(rng.Between(0, shape.layers - 1));
      const int32_t index = geometry.TableIndex(block);
      EXPECT_EQ(geometry.BlockOf(index), block);
      EXPECT_EQ(geometry.PageOf(block), block / b);
      const int64_t offset = kv.Keys(layer, index) - kv.base;
      // Inside its own page, at its layer's part and its place there.
      EXPECT_EQ(offset, block / b * geometry.page_bytes() + (int64_t{layer} * b + block % b) * s);
      EXPECT_LE(offset + s, (block / b + 1) * geometry.page_bytes());
    }
  }
}

TEST(KvGeometryTest, CountsRoundUp) {
  const KvGeometry geometry = KvGeometry::Create({2, 16, 512}, 4096, 4).value();
  EXPECT_EQ(geometry.page_bytes(), 4096);
  EXPECT_EQ(geometry.BlocksFor(0), 0);
  EXPECT_EQ(geometry.BlocksFor(1), 1);
  EXPECT_EQ(geometry.BlocksFor(16), 1);
  EXPECT_EQ(geometry.BlocksFor(17), 2);
  EXPECT_EQ(geometry.PagesFor(0), 0);
  EXPECT_EQ(geometry.PagesFor(4), 1);
  EXPECT_EQ(geometry.PagesFor(5), 2);
  EXPECT_EQ(geometry.page_count_max(), (int64_t{1} << 31) / 8 - 1);
}

}  // namespace
}  // namespace ebb::memory
