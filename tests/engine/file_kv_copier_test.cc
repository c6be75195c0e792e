// The file form of KvCopier, and KvSwapper over it: what comes back is what went, bit for bit.

#include "engine/file_kv_copier.h"

#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/rng.h"
#include "device/stream_host.h"
#include "engine/kv_swapper.h"
#include "gtest/gtest.h"

namespace ebb::engine {
namespace {

constexpr int32_t kBlocks = 6;  // Two pages of three.

// Keys and values in host memory, with padding behind each page's blocks.
struct HostKv {
  explicit HostKv(uint64_t seed) {
    kv.layers = 3;
    kv.kv_heads = 2;
    kv.head_dim = 4;
    kv.block_tokens = 8;
    kv.blocks_per_page = 3;
    kv.layer_block_bytes = kernels::PagedKv::LayerBlockBytes(kv.dtype, 2, 4, 8);
    bytes.resize(static_cast<size_t>(2 * kIndicesPerPage * kv.layer_block_bytes));
    base::Rng rng(seed);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(rng.Bits());
    kv.base = bytes.data();
  }
  static constexpr int32_t kIndicesPerPage = 11;  // Nine parts and two of padding.
  static int32_t Index(int32_t block) { return block / 3 * kIndicesPerPage + block % 3; }

  kernels::PagedKv kv;
  std::vector<uint8_t> bytes;
};

TEST(FileKvCopierTest, BlocksComeBackElsewhereBitForBit) {
  HostKv host(5);
  auto copier = FileKvCopier::Create(testing::TempDir(), host.kv);
  ASSERT_TRUE(copier.ok()) << copier.status();
  const int64_t slot_bytes = 3 * host.kv.layer_block_bytes;
  ASSERT_TRUE((*copier)->AddChunk(0, 4 * slot_bytes).ok());
  ASSERT_TRUE((*copier)->CopyOut({{HostKv::Index(1), 3}, {HostKv::Index(5), 0}}).ok());
  // They return to each other's places, and nothing else changes.
  std::vector<uint8_t> want = host.bytes;
  const auto part = [&](std::vector<uint8_t>& in, int32_t layer, int32_t block) {
    return in.data() + (layer * 3 + HostKv::Index(block)) * host.kv.layer_block_bytes;
  };
  std::vector<uint8_t> before = host.bytes;
  for (int32_t layer = 0; layer < 3; ++layer) {
    const auto count = static_cast<size_t>(host.kv.layer_block_bytes);
    std::memcpy(part(want, layer, 5), part(before, layer, 1), count);
    std::memcpy(part(want, layer, 1), part(before, layer, 5), count);
    std::memset(part(host.bytes, layer, 1), 0xA5, count);
    std::memset(part(host.bytes, layer, 5), 0xA5, count);
  }
  ASSERT_TRUE((*copier)->CopyIn({{HostKv::Index(5), 3}, {HostKv::Index(1), 0}}).ok());
  EXPECT_EQ(host.bytes, want);
}

TEST(FileKvCopierTest, ADroppedChunkCanBeAddedAgain) {
  HostKv host(6);
  auto copier = FileKvCopier::Create(testing::TempDir(), host.kv);
  ASSERT_TRUE(copier.ok()) << copier.status();
  const std::vector<uint8_t> before = host.bytes;
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE((*copier)->AddChunk(0, 2 * 3 * host.kv.layer_block_bytes).ok());
    ASSERT_TRUE((*copier)->CopyOut({{HostKv::Index(2), 1}}).ok());
    ASSERT_TRUE((*copier)->CopyIn({{HostKv::Index(2), 1}}).ok());
    EXPECT_EQ(host.bytes, before);
    (*copier)->DropChunk(0);
  }
}

TEST(FileKvCopierTest, ADirectoryThatIsNotThereIsNamed) {
  HostKv host(7);
  const auto copier = FileKvCopier::Create("/no/such/directory", host.kv);
  EXPECT_EQ(copier.status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(copier.status().message().find("/no/such/directory"), std::string::npos);
}

TEST(FileKvCopierTest, WhatWasNeverWrittenIsAnError) {
  HostKv host(8);
  auto copier = FileKvCopier::Create(testing::TempDir(), host.kv);
  ASSERT_TRUE(copier.ok()) << copier.status();
  EXPECT_EQ((*copier)->CopyIn({{HostKv::Index(0), 0}}).code(), absl::StatusCode::kDataLoss);
}

TEST(KvSwapperTest, CopiesOnItsStreamAndSaysWhatCameOfIt) {
  HostKv host(9);
  auto copier = FileKvCopier::Create(testing::TempDir(), host.kv);
  ASSERT_TRUE(copier.ok()) << copier.status();
  device::HostStream stream;
  base::RealClock clock;
  KvSwapper swapper(copier->get(), &stream, &clock);
  int done_count = 0;
  swapper.SetOnDone([&done_count] { ++done_count; });
  EXPECT_FALSE(swapper.TakeResult().has_value());
  const auto run = [&](SwapPiece piece) {
    swapper.Submit(std::move(piece));
    swapper.WaitIdle();
    return *swapper.TakeResult();
  };
  ASSERT_TRUE((*copier)->AddChunk(0, kBlocks * 3 * host.kv.layer_block_bytes).ok());
  const std::vector<uint8_t> before = host.bytes;
  SwapPiece piece;
  piece.out = true;
  for (int32_t block = 0; block < kBlocks; ++block) {
    piece.copies.push_back({HostKv::Index(block), block});
  }
  const SwapResult out = run(piece);
  EXPECT_TRUE(out.status.ok()) << out.status;
  EXPECT_GT(out.took, absl::ZeroDuration());
  for (int32_t block = 0; block < kBlocks; ++block) {
    std::memset(host.kv.Keys(1, HostKv::Index(block)), 0, 16);
  }
  EXPECT_NE(host.bytes, before);
  piece.out = false;
  EXPECT_TRUE(run(piece).status.ok());
  EXPECT_EQ(host.bytes, before);
  EXPECT_FALSE(run({false, {{0, kBlocks}}}).status.ok());  // Beyond the file's end.
  EXPECT_FALSE(swapper.TakeResult().has_value());
  EXPECT_EQ(done_count, 3);
}

}  // namespace
}  // namespace ebb::engine
