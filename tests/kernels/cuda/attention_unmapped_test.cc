// The attention kernels read no address that is not mapped: blocks lie at the ends of mapped pages
// whose neighbours have no memory, so that a byte too far ends the test (the fake device faults, a
// real one is lost).
//
//   page:    0          1              2          3              4
//            reserved   B . . . . B    reserved   B . . . . B    reserved        B: a block
#include <gtest/gtest.h>

#include <vector>

#include "base/rng.h"
#include "kernels/cuda/attention_plan.h"
#include "tests/kernels/cuda/attention_problem.h"
#include "tests/kernels/cuda/op_fixture.h"
#include "tests/kernels/cuda/test_seed.h"

namespace ebb::kernels::cuda {
namespace {

constexpr AttentionShape kShape = {4, 2, 64, 16};
constexpr int64_t kHalfBytes = int64_t{2} * 2 * 16 * 64;  // The keys of a block.
constexpr int32_t kPages = 5;
constexpr int32_t kMapped[] = {1, 3};

class UnmappedAttentionTest : public OpFixture {
 protected:
  void SetUp() override {
    int64_t granularity = 0;
    Expect(api()->vmm_granularity(context(), &granularity));
    page_bytes_ = std::max(granularity, 8 * kHalfBytes);
    ASSERT_EQ(page_bytes_ % granularity, 0);
    Expect(api()->vmm_reserve(context(), kPages * page_bytes_, &base_));
    for (const int32_t page : kMapped) {
      uint64_t handle = 0;
      Expect(api()->vmm_create(context(), page_bytes_, &handle));
      Expect(api()->vmm_map(context(), Page(page), page_bytes_, handle));
      Expect(api()->vmm_set_access(context(), Page(page), page_bytes_));
      handles_.push_back(handle);
    }
  }

  void TearDown() override {
    Expect(api()->stream_synchronize(stream()));
    for (const int32_t page : kMapped) {
      Expect(api()->vmm_unmap(context(), Page(page), page_bytes_));
    }
    for (const uint64_t handle : handles_) Expect(api()->vmm_release(context(), handle));
    Expect(api()->vmm_free(context(), base_, kPages * page_bytes_));
  }

  uint8_t* Page(int32_t page) const { return base_ + page * page_bytes_; }

  // A sequence over the four outermost blocks of the mapped pages; the rest of them is NaN.
  PagedImage Store(const AttentionSequence& sequence) {
    PagedImage image;
    image.kv = {base_,
                0,
                2 * kHalfBytes,
                kHalfBytes,
                1,
                kShape.kv_heads,
                kShape.head_dim,
                kShape.block_tokens};
    image.memory.assign(kPages * page_bytes_ / 2, kBf16Nan);
    const auto page_blocks = static_cast<int32_t>(page_bytes_ / (2 * kHalfBytes));
    image.indices = {page_blocks, 2 * page_blocks - 1, 3 * page_blocks, 4 * page_blocks - 1};
    image.begins = {0};
    image.Store(0, sequence);
    for (const int32_t page : kMapped) {
      Expect(api()->copy_to_device(stream(), Page(page),
                                   image.memory.data() + page * page_bytes_ / 2, page_bytes_));
    }
    Expect(api()->stream_synchronize(stream()));
    return image;
  }

  int64_t page_bytes_ = 0;
  uint8_t* base_ = nullptr;
  std::vector<uint64_t> handles_;
};

void ExpectNear(const AttentionSequence& sequence, int32_t visible, const uint16_t* q,
                const uint16_t* out) {
  for (int32_t h = 0; h < kShape.heads; ++h) {
    const AttentionAnswer answer = Answer(kShape, sequence, h, visible, q + h * kShape.head_dim);
    for (int32_t d = 0; d < kShape.head_dim; ++d) {
      ASSERT_NEAR(Bf16ToDouble(out[h * kShape.head_dim + d]), answer.out[d], answer.tolerance[d]);
    }
  }
}

TEST_F(UnmappedAttentionTest, DecodeStaysInMappedMemory) {
  base::Rng rng(TestSeed(1));
  const std::vector<uint16_t> values = RandomBf16(rng, kShape.row_width(), 1.5);
  const DeviceArray<uint16_t> q = Upload(values);
  const DeviceArray<float> partials = Poisoned<float>(8 * kShape.row_width());
  const DeviceArray<float> stats = Poisoned<float>(8 * kShape.heads * 2);
  for (const int32_t length : {1, 16, 17, 33, 49, 63, 64}) {
    const AttentionSequence sequence = RandomSequence(rng, kShape, length);
    const PagedImage image = Store(sequence);
    DecodePlan plan;
    PlanDecode({kShape.heads, kShape.kv_heads, kShape.block_tokens, 1}, {length}, 8, &plan);
    const DeviceArray<int32_t> indices = Upload(image.indices);
    const DeviceArray<int32_t> begins = Upload(image.begins);
    const DeviceArray<EbbCudaDecodeSplit> splits = Upload(plan.splits);
    const DeviceArray<int32_t> split_count =
        Upload(std::vector<int32_t>{static_cast<int32_t>(plan.splits.size())});
    const DeviceArray<int32_t> slot_begins = Upload(plan.slot_begins);
    const DeviceArray<uint16_t> out = Poisoned<uint16_t>(kShape.row_width());
    EbbCudaDecodeAttention op = {};
    op.q = q.data();
    op.out = out.data();
    op.plan = {split_count.data(), splits.data(), slot_begins.data()};
    op.partials = partials.data();
    op.partial_stats = stats.data();
    op.tables = {indices.data(), begins.data()};
    op.kv = image.kv;
    op.heads = kShape.heads;
    op.lanes = 1;
    op.slots_max = 8;
    Expect(api()->decode_attention(stream(), &op));
    ASSERT_NO_FATAL_FAILURE(ExpectNear(sequence, length, values.data(), Download(out).data()));
  }
}

TEST_F(UnmappedAttentionTest, PrefillStaysInMappedMemory) {
  base::Rng rng(TestSeed(2));
  for (const int32_t length : {1, 16, 17, 33, 49, 63, 64}) {
    const AttentionSequence sequence = RandomSequence(rng, kShape, length);
    const PagedImage image = Store(sequence);
    const std::vector<uint16_t> values = RandomBf16(rng, length * kShape.row_width(), 1.5);
    std::vector<EbbCudaPrefillTile> tiles;
    PlanPrefillTiles(kShape.heads, kShape.kv_heads, {{0, 0, length, 0}}, &tiles);
    const DeviceArray<uint16_t> q = Upload(values);
    const DeviceArray<uint16_t> out = Poisoned<uint16_t>(values.size());
    const DeviceArray<int32_t> indices = Upload(image.indices);
    const DeviceArray<int32_t> begins = Upload(image.begins);
    const DeviceArray<EbbCudaPrefillTile> device_tiles = Upload(tiles);
    EbbCudaPrefillAttention op = {};
    op.q = q.data();
    op.out = out.data();
    op.tiles = device_tiles.data();
    op.tables = {indices.data(), begins.data()};
    op.kv = image.kv;
    op.heads = kShape.heads;
    op.tile_count = static_cast<int32_t>(tiles.size());
    Expect(api()->prefill_attention(stream(), &op));
    const std::vector<uint16_t> got = Download(out);
    for (int32_t p = 0; p < length; ++p) {
      ASSERT_NO_FATAL_FAILURE(ExpectNear(sequence, p + 1, &values[p * kShape.row_width()],
                                         &got[p * kShape.row_width()]));
    }
  }
}

}  // namespace
}  // namespace ebb::kernels::cuda
