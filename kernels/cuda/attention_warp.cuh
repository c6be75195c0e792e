// One warp's part of attention: 16 query rows against tiles of keys and values in shared memory, by
// tensor cores, with the softmax carried from tile to tile (Dao, "FlashAttention-2", 2023).
//
//              kKeys keys                     head_dim
//            +-----------+                 +------------+
//   16 rows  |  scores   |  --> weights  x | kKeys rows |  += out [16, head_dim], scaled by
//            +-----------+   bf16          +------------+     1 / exp of the rows' maximum so far
//
// A lane holds the elements of rows lane / 4 and lane / 4 + 8 at columns 2 * (lane % 4) and the
// next one of every 8: the layout of mma.m16n8k16's results. What a row becomes depends on its own
// query, the keys and the values that it sees, and their places in the tiles; not on the other
// rows.
//
// Device code, for all lanes of a warp together.
#pragma once

#include <cstdint>

#include "device/cuda/cuda_api.h"
#include "kernels/cuda/attention_softmax.cuh"
#include "kernels/cuda/prelude.cuh"

namespace ebb::kernels::cuda {

inline constexpr int kFragmentRows = 16;  // The M of mma.m16n8k16.
inline constexpr int kBf16Bytes = 2;

// Rows of keys or values in shared memory. 16 bytes of padding make a row's length an odd multiple
// of 16, so that the eight rows that one phase of ldmatrix reads lie in different banks.
template <int kHeadDim>
struct SharedRows {
  static constexpr int kChunks = kHeadDim / 8;  // Of 16 bytes.
  static constexpr int kRowBytes = kHeadDim * kBf16Bytes + 16;
};

// How `kThreads` threads copy rows: thread t takes chunk t % kChunks of row t / kChunks of each
// round; those past the last row of a round take none.
template <int kHeadDim, int kThreads>
struct CopyRounds {
  static constexpr int kChunks = SharedRows<kHeadDim>::kChunks;
  // A power of two, so that rounds make up a tile exactly.
  static constexpr int kRows = kThreads >= 16 * kChunks  ? 16
                               : kThreads >= 8 * kChunks ? 8
                               : kThreads >= 4 * kChunks ? 4
                                                         : 2;
  static_assert(kThreads >= kRows * kChunks);
};

// Where one key head's part of a sequence lies in paged memory.
template <int kHeadDim>
struct PagedHead {
  const uint8_t* keys;  // Of index 0.
  const int32_t* table;
  int64_t value_offset_bytes;
  uint32_t index_stride_bytes;
  int32_t block_shift;

  __device__ __forceinline__ PagedHead(const EbbCudaKv& kv, const EbbCudaTables& tables,
                                       int32_t layer, int32_t sequence, int32_t kv_head) {
    table = tables.indices + tables.begins[sequence];
    value_offset_bytes = kv.value_offset_bytes;
    index_stride_bytes = static_cast<uint32_t>(kv.index_stride_bytes);
    block_shift = __ffs(kv.block_tokens) - 1;
    keys = kv.base + layer * kv.layer_stride_bytes +
           static_cast<int64_t>(kv_head) * kv.block_tokens * (kHeadDim * kBf16Bytes);
  }

  // The table's entry for a position. REQUIRES: the sequence has that position.
  __device__ __forceinline__ int32_t Index(int32_t position) const {
    return table[static_cast<uint32_t>(position) >> block_shift];
  }
  // A position's key, given its entry. With any other entry an address that may not be read.
  __device__ __forceinline__ const uint8_t* Key(int32_t index, int32_t position) const {
    // Unsigned, so that each is one multiplication of 32 bits.
    const uint32_t in_block = static_cast<uint32_t>(position) & ((1u << block_shift) - 1);
    return keys + uint64_t{static_cast<uint32_t>(index)} * index_stride_bytes +
           in_block * (kHeadDim * kBf16Bytes);
  }
};

template <int kHeadDim, int kKeys>
class WarpAttention {
 public:
  using Rows = SharedRows<kHeadDim>;

  // Takes the queries of this lane's two rows; null for a row that is not there (its query is 0).
  // `scale` is log2(e) / sqrt(head_dim).
  __device__ __forceinline__ WarpAttention(const uint16_t* low_query, const uint16_t* high_query,
                                           float scale)
      : softmax_(scale) {
    const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
    key_lane_bytes_ = (lane / 16 * 8 + lane % 8) * Rows::kRowBytes + lane / 8 % 2 * 16;
    value_lane_bytes_ = (lane / 8 % 2 * 8 + lane % 8) * Rows::kRowBytes + lane / 16 * 16;
    const int column = lane % 4 * 2;
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) {
      query_[k][0] = LoadPair(low_query, k * 16 + column);
      query_[k][1] = LoadPair(high_query, k * 16 + column);
      query_[k][2] = LoadPair(low_query, k * 16 + column + 8);
      query_[k][3] = LoadPair(high_query, k * 16 + column + 8);
    }
#pragma unroll
    for (int n = 0; n < kHeadDim / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) out_[n][i] = 0;
    }
  }

  // Attends to one tile: row `half` of this lane to its first visible[half] keys (any number; below
  // 1: none). A tile of which a row sees nothing leaves the row as it was, bit for bit, as long as
  // the tile's values are finite. `keys` and `values` are the tile's first rows in shared memory.
  __device__ __forceinline__ void Attend(const uint8_t* keys, const uint8_t* values,
                                         const int (&visible)[2]) {
    float scores[kKeys / 8][4];
    Score(keys, scores);
    if (visible[0] < kKeys || visible[1] < kKeys) softmax_.Mask(visible, scores);
    float factor[2];
    softmax_.Weigh(scores, factor);
    ScaleRows(factor, out_);
    Accumulate(values, scores);
  }

  // Completes the rows' sums, which until then each lane holds for its own columns.
  __device__ __forceinline__ void Finish() { softmax_.Finish(); }

  // The largest product of query and key of this lane's row `half`, not scaled; -infinity when it
  // saw no key.
  __device__ float max(int half) const { return softmax_.max(half); }
  // REQUIRES: Finish() was called.
  __device__ float sum(int half) const { return softmax_.sum(half); }
  // Element (row `half`, column n * 8 + 2 * (lane % 4) + i) of the weighted sum of values.
  __device__ float out(int half, int n, int i) const { return out_[n][half * 2 + i]; }

 private:
  __device__ static uint32_t LoadPair(const uint16_t* row, int column) {
    return row == nullptr ? 0 : *reinterpret_cast<const uint32_t*>(row + column);
  }

  // scores = query x keys
  __device__ __forceinline__ void Score(const uint8_t* keys, float (&scores)[kKeys / 8][4]) const {
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) scores[n][i] = 0;
    }
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) {
#pragma unroll
      for (int pair = 0; pair < kKeys / 16; ++pair) {
        // Keys pair * 16 .. + 7 in words 0 and 1, the next eight in words 2 and 3.
        uint32_t words[4];
        LoadMatrix4(words, keys + key_lane_bytes_ + pair * 16 * Rows::kRowBytes + k * 32);
        const uint32_t low[2] = {words[0], words[1]};
        const uint32_t high[2] = {words[2], words[3]};
        MmaBf16(scores[pair * 2], query_[k], low);
        MmaBf16(scores[pair * 2 + 1], query_[k], high);
      }
    }
  }

  // out += weights x values
  __device__ __forceinline__ void Accumulate(const uint8_t* values,
                                             const float (&weights)[kKeys / 8][4]) {
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) {
      // Results of two adjacent tiles of 8 columns are, packed, an operand of 16 columns.
      const uint32_t a[4] = {PackBf16(weights[k * 2][0], weights[k * 2][1]),
                             PackBf16(weights[k * 2][2], weights[k * 2][3]),
                             PackBf16(weights[k * 2 + 1][0], weights[k * 2 + 1][1]),
                             PackBf16(weights[k * 2 + 1][2], weights[k * 2 + 1][3])};
#pragma unroll
      for (int pair = 0; pair < kHeadDim / 16; ++pair) {
        // Columns pair * 16 .. + 7 in words 0 and 1, the next eight in words 2 and 3.
        uint32_t words[4];
        LoadMatrix4Transposed(words,
                              values + value_lane_bytes_ + k * 16 * Rows::kRowBytes + pair * 32);
        const uint32_t low[2] = {words[0], words[1]};
        const uint32_t high[2] = {words[2], words[3]};
        MmaBf16(out_[pair * 2], a, low);
        MmaBf16(out_[pair * 2 + 1], a, high);
      }
    }
  }

  uint32_t query_[kHeadDim / 16][4];
  float out_[kHeadDim / 8][4];
  OnlineSoftmax<kKeys> softmax_;
  int key_lane_bytes_;  // This lane's row address for ldmatrix, from the tile's start.
  int value_lane_bytes_;
};

}  // namespace ebb::kernels::cuda
