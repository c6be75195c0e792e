// The host's plans for attention: every position exactly once, in order, within the bounds that
// buffers are sized by.
#include "kernels/cuda/attention_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "kernels/cuda/attention_shape.h"
#include "tests/kernels/cuda/test_seed.h"

namespace ebb::kernels::cuda {
namespace {

// ---- prefill

std::vector<PrefillRows> RandomRows(base::Rng& rng) {
  std::vector<PrefillRows> rows(rng.Between(0, 8));
  int32_t first_row = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].sequence = static_cast<int32_t>(i);
    rows[i].first_row = first_row;
    rows[i].row_count = static_cast<int32_t>(rng.Between(0, rng.Chance(0.5) ? 3 : 400));
    rows[i].first_position = static_cast<int32_t>(rng.Chance(0.3) ? 0 : rng.Between(0, 100000));
    first_row += rows[i].row_count;
  }
  return rows;
}

TEST(PrefillTiles, EachRowIsInOneTileAndTilesAreBounded) {
  base::Rng rng(TestSeed(1));
  for (int trial = 0; trial < 2000; ++trial) {
    const auto kv_heads = static_cast<int32_t>(rng.Between(1, 8));
    const auto group = static_cast<int32_t>(rng.Between(1, EBB_CUDA_PREFILL_TILE_ROWS));
    const int32_t heads = kv_heads * group;
    ASSERT_TRUE(PrefillServes(heads, kv_heads));
    const std::vector<PrefillRows> rows = RandomRows(rng);
    std::vector<EbbCudaPrefillTile> tiles(3);  // What was there before goes.
    PlanPrefillTiles(heads, kv_heads, rows, &tiles);

    int64_t row_count = 0;
    for (const PrefillRows& part : rows) row_count += part.row_count;
    std::vector<int> seen(row_count, 0);
    for (const EbbCudaPrefillTile& tile : tiles) {
      ASSERT_GE(tile.row_count, 1);
      ASSERT_LE(tile.row_count * group, EBB_CUDA_PREFILL_TILE_ROWS);
      const PrefillRows& part = rows.at(tile.sequence);
      ASSERT_GE(tile.first_row, part.first_row);
      ASSERT_LE(tile.first_row + tile.row_count, part.first_row + part.row_count);
      ASSERT_EQ(tile.first_position - part.first_position, tile.first_row - part.first_row);
      for (int32_t i = 0; i < tile.row_count; ++i) ++seen[tile.first_row + i];
    }
    ASSERT_TRUE(std::all_of(seen.begin(), seen.end(), [](int n) { return n == 1; }));
    ASSERT_LE(static_cast<int64_t>(tiles.size()),
              PrefillTilesMax(heads, kv_heads, row_count, static_cast<int64_t>(rows.size())));
    for (size_t i = 1; i < tiles.size(); ++i) {
      ASSERT_GE(tiles[i - 1].first_position + tiles[i - 1].row_count,
                tiles[i].first_position + tiles[i].row_count);
    }
  }
}

TEST(PrefillTiles, TheBoundIsReached) {
  // Two sequences with one row more than full tiles.
  const std::vector<PrefillRows> rows = {{0, 0, 65, 0}, {1, 65, 33, 5}};
  std::vector<EbbCudaPrefillTile> tiles;
  PlanPrefillTiles(32, 8, rows, &tiles);
  EXPECT_EQ(tiles.size(), 5u);
  EXPECT_EQ(PrefillTilesMax(32, 8, 98, 2), 5);
  EXPECT_EQ(PrefillTilesMax(32, 8, 3, 64), 3);  // No tile is empty.
}

TEST(PrefillTiles, GroupsAreServedUpToATilesRows) {
  EXPECT_TRUE(PrefillServes(128, 1));
  EXPECT_FALSE(PrefillServes(129, 1));
  EXPECT_FALSE(PrefillServes(5, 2));
  EXPECT_FALSE(PrefillServes(1, 2));
  EXPECT_FALSE(PrefillServes(4, 0));
}

// ---- decode

int32_t LargestSplit(const DecodePlan& plan) {
  int32_t largest = 0;
  for (const EbbCudaDecodeSplit& split : plan.splits) {
    largest = std::max(largest, split.token_count);
  }
  return largest;
}

// Checks all that holds for every plan.
void CheckPlan(const DecodeShape& shape, const std::vector<int32_t>& lengths, int32_t slots_max,
               const DecodePlan& plan) {
  ASSERT_LE(plan.splits.size(), static_cast<size_t>(slots_max));
  ASSERT_EQ(plan.slot_begins.size(), lengths.size() + 1);
  ASSERT_EQ(plan.slot_begins[0], 0);
  ASSERT_EQ(plan.slot_begins.back(), static_cast<int32_t>(plan.splits.size()));
  std::vector<const EbbCudaDecodeSplit*> of_slot(plan.splits.size(), nullptr);
  for (size_t i = 0; i < plan.splits.size(); ++i) {
    const EbbCudaDecodeSplit& split = plan.splits[i];
    ASSERT_EQ(of_slot.at(split.slot), nullptr);
    of_slot[split.slot] = &split;
    // The long ones start first.
    if (i > 0) {
      ASSERT_GE(plan.splits[i - 1].token_count, split.token_count);
    }
  }
  for (size_t lane = 0; lane < lengths.size(); ++lane) {
    int32_t position = 0;
    for (int32_t slot = plan.slot_begins[lane]; slot < plan.slot_begins[lane + 1]; ++slot) {
      const EbbCudaDecodeSplit& split = *of_slot[slot];
      ASSERT_EQ(split.lane, static_cast<int32_t>(lane));
      ASSERT_EQ(split.first_position, position);
      ASSERT_EQ(split.first_position % shape.block_tokens, 0);
      ASSERT_EQ(split.first_position % kDecodeKeyTile, 0);
      ASSERT_GT(split.token_count, 0);
      position += split.token_count;
    }
    ASSERT_EQ(position, lengths[lane]);
  }
}

DecodeShape RandomShape(base::Rng& rng) {
  DecodeShape shape;
  shape.kv_heads = static_cast<int32_t>(rng.Between(1, 16));
  shape.heads = shape.kv_heads * static_cast<int32_t>(rng.Between(1, 40));
  shape.block_tokens = 8 << rng.Between(0, 5);
  shape.sm_count = static_cast<int32_t>(rng.Between(1, 160));
  return shape;
}

TEST(DecodePlan, EachPositionIsInOneSplitAndSplitsAreBounded) {
  base::Rng rng(TestSeed(1));
  for (int trial = 0; trial < 2000; ++trial) {
    const DecodeShape shape = RandomShape(rng);
    const auto lanes = static_cast<int32_t>(rng.Between(0, 40));
    const auto length_max = static_cast<int32_t>(rng.Between(0, rng.Chance(0.5) ? 300 : 50000));
    std::vector<int32_t> lengths(lanes);
    for (int32_t& length : lengths) {
      length = static_cast<int32_t>(rng.Chance(0.2) ? 0 : rng.Between(0, length_max));
    }
    const int32_t slots_max = DecodeSlotsMax(shape, lanes, length_max);
    DecodePlan plan;
    PlanDecode(shape, lengths, slots_max, &plan);
    ASSERT_NO_FATAL_FAILURE(CheckPlan(shape, lengths, slots_max, plan));

    DecodePlan again;
    PlanDecode(shape, lengths, slots_max, &again);
    ASSERT_EQ(again.slot_begins, plan.slot_begins);
    ASSERT_TRUE(std::equal(again.splits.begin(), again.splits.end(), plan.splits.begin(),
                           plan.splits.end(),
                           [](const EbbCudaDecodeSplit& a, const EbbCudaDecodeSplit& b) {
                             return std::memcmp(&a, &b, sizeof(a)) == 0;
                           }));
  }
}

TEST(DecodePlan, ATightBoundStillHoldsOneSplitForEachLane) {
  const DecodeShape shape = {8, 8, 16, 132};
  const std::vector<int32_t> lengths = {5000, 0, 1, 70};
  DecodePlan plan;
  PlanDecode(shape, lengths, 3, &plan);
  CheckPlan(shape, lengths, 3, plan);
  EXPECT_EQ(plan.splits.size(), 3u);
}

// The longest split bounds the step's time: it may exceed an even share of all positions over the
// splits that fill the device only by rounding up to whole units.
TEST(DecodePlan, OneLongLaneAmongShortOnesIsSpreadOverTheDevice) {
  const DecodeShape shape = {32, 8, 16, 132};
  std::vector<int32_t> lengths(64, 1000);
  lengths[17] = 100000;
  DecodePlan plan;
  PlanDecode(shape, lengths, DecodeSlotsMax(shape, 64, 131072), &plan);
  CheckPlan(shape, lengths, DecodeSlotsMax(shape, 64, 131072), plan);
  const int64_t total = 63 * 1000 + 100000;
  const int64_t splits = int64_t{kDecodeCtasPerSm} * 132 / 8;
  EXPECT_LE(LargestSplit(plan), total / splits + 2 * kDecodeKeyTile);
}

TEST(DecodePlan, OneShortLaneIsCutAsFineAsTheKernelCan) {
  const DecodeShape shape = {32, 8, 16, 132};
  DecodePlan plan;
  PlanDecode(shape, {1024}, DecodeSlotsMax(shape, 1, 131072), &plan);
  EXPECT_EQ(plan.splits.size(), 1024u / kDecodeKeyTile);
}

TEST(DecodePlan, SplitsOfALaneDifferByOneUnitAtMost) {
  const DecodeShape shape = {8, 8, 16, 10};
  DecodePlan plan;
  PlanDecode(shape, {10 * kDecodeKeyTile}, 4, &plan);  // Ten units over at most four splits.
  ASSERT_EQ(plan.splits.size(), 4u);
  EXPECT_EQ(LargestSplit(plan), 3 * kDecodeKeyTile);
  EXPECT_EQ(plan.splits.back().token_count, 2 * kDecodeKeyTile);
}

TEST(DecodePlan, NoLanesNeedASlotAllTheSame) {
  EXPECT_EQ(DecodeSlotsMax({8, 8, 16, 132}, 0, 1000), 1);  // A grid has at least one block.
}

}  // namespace
}  // namespace ebb::kernels::cuda
