// The CUDA form of KvCopier on the fake library: bits out of the device's pages and back.

#include "engine/cuda_kv_copier.h"

#include <vector>

#include "device/cuda/cuda_stream.h"
#include "gtest/gtest.h"
#include "tests/engine/cuda_runner_fixture.h"

namespace ebb::engine {
namespace {

TEST_F(CudaRunnerTest, SwappedBlocksComeBackBitForBit) {
  constexpr int32_t kLayers = 3;
  const int64_t part_bytes = kernels::PagedKv::LayerBlockBytes(kernels::DType::kBF16, 1, 32, 16);
  const auto geometry =
      memory::KvGeometry::Create({kLayers, 16, part_bytes}, vmm_->granularity_bytes(), 4);
  ASSERT_TRUE(geometry.ok()) << geometry.status();
  PageRange pages(vmm_.get(), geometry->page_bytes(), 2);
  pages.Map(0);
  pages.Map(1);
  kernels::PagedKv kv;
  kv.base = pages.base();
  kv.dtype = kernels::DType::kBF16;
  kv.layers = kLayers;
  kv.kv_heads = 1;
  kv.head_dim = 32;
  kv.block_tokens = 16;
  kv.blocks_per_page = geometry->blocks_per_page();
  kv.layer_block_bytes = part_bytes;
  auto stream = device::CudaStream::Create(device_.get(), {});
  ASSERT_TRUE(stream.ok()) << stream.status();
  const EbbCudaApi& api = device_->api();
  auto host = device_->AllocHost(part_bytes);
  ASSERT_TRUE(host.ok()) << host.status();
  // Each part of a block is filled with a byte of its own.
  const auto fill = [&](int32_t block, uint8_t first) {
    for (int32_t layer = 0; layer < kLayers; ++layer) {
      ASSERT_EQ(api.fill_bytes((*stream)->native(), kv.Keys(layer, geometry->TableIndex(block)),
                               first + layer, part_bytes),
                EBB_CUDA_OK);
    }
    ASSERT_EQ(api.stream_synchronize((*stream)->native()), EBB_CUDA_OK);
  };
  const auto expect = [&](int32_t block, uint8_t first) {
    for (int32_t layer = 0; layer < kLayers; ++layer) {
      ASSERT_EQ(api.copy_to_host((*stream)->native(), host->data(),
                                 kv.Keys(layer, geometry->TableIndex(block)), part_bytes),
                EBB_CUDA_OK);
      ASSERT_EQ(api.stream_synchronize((*stream)->native()), EBB_CUDA_OK);
      for (int64_t i = 0; i < part_bytes; ++i) ASSERT_EQ(host->data()[i], first + layer);
    }
  };
  device::LaunchGate gate;
  auto copier = CudaKvCopier::Create(device_.get(), &gate, kv);
  ASSERT_TRUE(copier.ok()) << copier.status();
  ASSERT_TRUE((*copier)->AddChunk(0, 3 * kLayers * part_bytes).ok());
  fill(1, 10);
  fill(6, 20);
  fill(3, 30);
  ASSERT_TRUE(
      (*copier)->CopyOut({{geometry->TableIndex(1), 2}, {geometry->TableIndex(6), 0}}).ok());
  fill(1, 90);
  fill(6, 90);
  ASSERT_TRUE((*copier)->CopyIn({{geometry->TableIndex(6), 2}, {geometry->TableIndex(1), 0}}).ok());
  expect(6, 10);
  expect(1, 20);
  expect(3, 30);
  // No copy holds the gate any more.
  gate.Close();
  gate.Open();
}

}  // namespace
}  // namespace ebb::engine
