#include "kernels/cuda/attention_plan.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "kernels/cuda/attention_shape.h"

namespace ebb::kernels::cuda {
namespace {

constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t PrefillTileRows(int32_t heads, int32_t kv_heads) {
  CHECK(PrefillServes(heads, kv_heads)) << heads << " heads, " << kv_heads << " key heads";
  return EBB_CUDA_PREFILL_TILE_ROWS / (heads / kv_heads);
}

int32_t LastPosition(const EbbCudaPrefillTile& tile) {
  return tile.first_position + tile.row_count - 1;
}

// The positions that splits are made of: each split but a lane's last is a multiple.
int64_t UnitTokens(const DecodeShape& shape) {
  return std::max(shape.block_tokens, kDecodeKeyTile);
}

// Splits that fill the device once.
int64_t FullDeviceSplits(const DecodeShape& shape) {
  const int64_t group_tiles = CeilDiv(shape.heads / shape.kv_heads, kDecodeGroupTile);
  const int64_t ctas = int64_t{kDecodeCtasPerSm} * shape.sm_count;
  return std::max<int64_t>(1, ctas / (shape.kv_heads * group_tiles));
}

// The fewest units per split with which the lanes make at most `limit` splits.
// REQUIRES: limit >= the lanes that have any.
int64_t UnitsPerSplit(absl::Span<const int32_t> lengths, int64_t unit_tokens, int64_t limit) {
  const auto count = [&](int64_t units) {
    int64_t splits = 0;
    for (const int32_t length : lengths) splits += CeilDiv(length, units * unit_tokens);
    return splits;
  };
  int64_t low = 1;
  int64_t high = 1;
  for (const int32_t length : lengths) high = std::max(high, CeilDiv(length, unit_tokens));
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (count(middle) <= limit) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

void CheckShape(const DecodeShape& shape) {
  CHECK(shape.kv_heads > 0 && shape.heads >= shape.kv_heads && shape.sm_count > 0);
  CHECK_EQ(shape.heads % shape.kv_heads, 0);
  CHECK(shape.block_tokens > 0 && (shape.block_tokens & (shape.block_tokens - 1)) == 0);
}

}  // namespace

bool PrefillServes(int32_t heads, int32_t kv_heads) {
  return kv_heads > 0 && heads >= kv_heads && heads % kv_heads == 0 &&
         heads / kv_heads <= EBB_CUDA_PREFILL_TILE_ROWS;
}

int64_t PrefillTilesMax(int32_t heads, int32_t kv_heads, int64_t row_count,
                        int64_t sequence_count) {
  // Each sequence has at most one tile that is not full, and no tile is empty.
  const int64_t full = row_count / PrefillTileRows(heads, kv_heads);
  return std::min(row_count, full + sequence_count);
}

void PlanPrefillTiles(int32_t heads, int32_t kv_heads, absl::Span<const PrefillRows> rows,
                      std::vector<EbbCudaPrefillTile>* tiles) {
  const auto tile_rows = static_cast<int32_t>(PrefillTileRows(heads, kv_heads));
  tiles->clear();
  for (const PrefillRows& part : rows) {
    CHECK(part.row_count >= 0 && part.first_position >= 0);
    for (int32_t done = 0; done < part.row_count; done += tile_rows) {
      EbbCudaPrefillTile tile = {};
      tile.sequence = part.sequence;
      tile.first_row = part.first_row + done;
      tile.row_count = std::min(tile_rows, part.row_count - done);
      tile.first_position = part.first_position + done;
      tiles->push_back(tile);
    }
  }
  std::sort(tiles->begin(), tiles->end(),
            [](const EbbCudaPrefillTile& a, const EbbCudaPrefillTile& b) {
              const int32_t last_a = LastPosition(a);
              const int32_t last_b = LastPosition(b);
              return last_a != last_b ? last_a > last_b : a.first_row < b.first_row;
            });
}

int32_t DecodeSlotsMax(const DecodeShape& shape, int32_t lanes, int32_t length_max) {
  CheckShape(shape);
  CHECK(lanes >= 0 && length_max >= 0);
  // A lane's last split may be short; beside those, the splits of a full device.
  const int64_t filling = FullDeviceSplits(shape) + lanes;
  const int64_t possible = int64_t{lanes} * CeilDiv(length_max, UnitTokens(shape));
  const int64_t slots = std::max<int64_t>(1, std::min(filling, possible));
  CHECK_LE(slots, std::numeric_limits<int32_t>::max());
  return static_cast<int32_t>(slots);
}

void PlanDecode(const DecodeShape& shape, absl::Span<const int32_t> lengths, int32_t slots_max,
                DecodePlan* plan) {
  CheckShape(shape);
  int64_t live = 0;
  for (const int32_t length : lengths) {
    CHECK_GE(length, 0);
    if (length > 0) ++live;
  }
  CHECK_GE(slots_max, live);
  const int64_t unit = UnitTokens(shape);
  const int64_t limit = std::min<int64_t>(slots_max, FullDeviceSplits(shape) + live);
  const int64_t units_per_split = UnitsPerSplit(lengths, unit, limit);

  plan->splits.clear();
  plan->slot_begins.assign(1, 0);
  for (size_t lane = 0; lane < lengths.size(); ++lane) {
    const int64_t units = CeilDiv(lengths[lane], unit);
    const int64_t splits = CeilDiv(units, units_per_split);
    int64_t first_unit = 0;
    for (int64_t i = 0; i < splits; ++i) {
      // The longer ones first, so that the one that ends inside a unit is not also a longer one.
      const int64_t split_units = units / splits + (i < units % splits ? 1 : 0);
      EbbCudaDecodeSplit split = {};
      split.lane = static_cast<int32_t>(lane);
      split.first_position = static_cast<int32_t>(first_unit * unit);
      split.token_count = static_cast<int32_t>(
          std::min<int64_t>(split_units * unit, lengths[lane] - first_unit * unit));
      split.slot = static_cast<int32_t>(plan->splits.size());
      plan->splits.push_back(split);
      first_unit += split_units;
    }
    plan->slot_begins.push_back(static_cast<int32_t>(plan->splits.size()));
  }
  std::sort(plan->splits.begin(), plan->splits.end(),
            [](const EbbCudaDecodeSplit& a, const EbbCudaDecodeSplit& b) {
              return a.token_count != b.token_count ? a.token_count > b.token_count
                                                    : a.slot < b.slot;
            });
}

}  // namespace ebb::kernels::cuda
