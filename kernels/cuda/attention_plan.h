// The host's part of attention: cuts a step's work into pieces for the kernels. Pure functions,
// part of the server binary; they need no CUDA.
//
//   prefill: each sequence's rows are cut into tiles          decode: each lane's positions are cut
//            of 128 / group rows, group = heads / kv_heads             into splits
//
//     seq 0  rows 0 .. 69, group 4, from position 128           lane 0  [ split ][ split ][split]
//            [32][32][6]                                                slot 0    slot 1   slot 2
//     seq 1  row 70                                             lane 1  []   (length 0: nothing)
//            [1]                                                lane 2  [split]
//                                                                       slot 3
//
// The same input gives the same plan. Where prefill's tiles lie makes no difference to a row's
// bits; where decode's splits lie does, so a step that must be independent of its batch sends its
// decode rows through the prefill kernel instead (a tile of one row each).
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "device/cuda/cuda_api.h"

namespace ebb::kernels::cuda {

// Adjacent rows of a step at consecutive positions of one sequence.
struct PrefillRows {
  int32_t sequence = 0;
  int32_t first_row = 0;
  int32_t row_count = 0;
  int32_t first_position = 0;
};

// Whether the prefill kernel serves this many query heads for each key head.
bool PrefillServes(int32_t heads, int32_t kv_heads);

// The most tiles that any `row_count` rows of `sequence_count` sequences make.
// REQUIRES: PrefillServes(heads, kv_heads).
int64_t PrefillTilesMax(int32_t heads, int32_t kv_heads, int64_t row_count, int64_t sequence_count);

// Replaces `tiles` by those of the rows, the longest contexts first, so that the last tiles to
// start are short ones. REQUIRES: PrefillServes(heads, kv_heads); row_count >= 0, first_position >=
// 0.
void PlanPrefillTiles(int32_t heads, int32_t kv_heads, absl::Span<const PrefillRows> rows,
                      std::vector<EbbCudaPrefillTile>* tiles);

// What splits depend on beside the lengths.
struct DecodeShape {
  int32_t heads = 0;
  int32_t kv_heads = 0;
  int32_t block_tokens = 0;  // A power of two.
  int32_t sm_count = 0;      // SMs that decode may count on.
};

// Slots that suffice for `lanes` lanes of at most `length_max` positions, whatever their lengths:
// the grid of the decode kernel, and the size of its partial results.
int32_t DecodeSlotsMax(const DecodeShape& shape, int32_t lanes, int32_t length_max);

// EbbCudaDecodePlan on the host.
struct DecodePlan {
  std::vector<EbbCudaDecodeSplit> splits;  // In the order of their start: the longest first.
  std::vector<int32_t> slot_begins;        // [lanes + 1]
};

// Replaces `plan` by one for lanes of these lengths. Splits begin at multiples of both the block's
// tokens and kDecodeKeyTile, are of nearly equal length within a lane, and are as short as the
// device can take at once, but never make more than slots_max. REQUIRES: lengths >= 0; slots_max >=
// DecodeSlotsMax(shape, lengths.size(), the longest).
void PlanDecode(const DecodeShape& shape, absl::Span<const int32_t> lengths, int32_t slots_max,
                DecodePlan* plan);

}  // namespace ebb::kernels::cuda
