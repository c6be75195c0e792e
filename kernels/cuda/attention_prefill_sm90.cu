// Prefill attention on Hopper (compute capability 9.0), for heads of 64 and 128: products of whole
// warpgroups (wgmma), which reach the tensor cores' full rate.
//
// A CTA takes one tile of rows and one key head: 64 packed query rows (row r is token r / group,
// head r % group) for each of two warpgroups, which share the tiles of 128 keys and values.
//
//   shared memory, 128-byte swizzled:  [ keys 128 x head_dim ] x 2   [ values 128 x head_dim ] x 4
//
// Each warpgroup goes round, its softmax beside the product of the weights before:
//
//   out        wait for weights x values (t - 1); scale out, take the weights of tile t
//   products   queue scores = query x keys (t + 1), then out += weights x values (t)
//   softmax    wait for the scores; mask, weigh
//
// and they take turns: at each barrier the first begins its products, and the second, whose scores
// are there, its softmax. So the tensor cores always have work. Barrier t + 1 says that tile t + 1
// has landed; that nobody reads keys t and values t - 2 any more; and begins the copy of tile t +
// 2, gathered through the block table.
//
//   first    out  | barrier t + 1 |  products (t + 1, t)   softmax t + 1    out  | barrier t + 2
//   second   products (t, t - 1)  | barrier t + 1 |  softmax t   out   products (t + 1, t)  | ...
//
// What a row becomes depends on itself alone, and memory past the tile's last position is not read:
// as in attention_prefill.cu, with key tiles of 128.
//
// Floor: 4 * head_dim * heads operations for each row and position it sees, over the rate of wgmma.
// At head_dim 128 a tile of keys takes 2,048 clocks of the tensor cores (4 * 128^3 operations at
// 4,096 a clock), 1,024 of the exponential units (128^2 at 16 a clock), 1,400 issue slots of each
// scheduler (two warps of 700 instructions, 210 of them to copy), and 64 KiB from the L2 cache.
//
// By ptxas for sm_90a: 240 registers for head_dim 128 and 201 for 64, none spilled; with 192 and 96
// KiB of shared memory an SM holds one CTA. In the machine code, worth looking at after a change or
// with another compiler: no wait (WARPGROUP.DEPBAR) stands between a warpgroup's PV products and
// its softmax but the one for the scores, and no instruction between products (HGMMA) and their
// wait writes their registers.
#include <cstdint>

#include "kernels/cuda/attention_prefill.h"
#include "kernels/cuda/attention_softmax.cuh"
#include "kernels/cuda/attention_warp.cuh"
#include "kernels/cuda/prelude.cuh"
#include "kernels/cuda/warpgroup.cuh"

namespace ebb::kernels::cuda {
namespace {

constexpr int kWarpgroups = EBB_CUDA_PREFILL_TILE_ROWS / kWarpgroupRows;
constexpr int kThreads = kWarpgroups * kWarpgroupThreads;
constexpr int kKeys = 128;  // Of a tile.

// The tiles in shared memory. A tile is cut into panels of 64 dimensions: 128 bytes of each row.
template <int kHeadDim>
struct Tiles {
  static constexpr int kPanels = kHeadDim / 64;
  static constexpr int kPanelBytes = kKeys * kSwizzleRowBytes;
  static constexpr int kTileBytes = kPanels * kPanelBytes;
  static constexpr int kKeyStages = 2;
  static constexpr int kValueStages = 4;
  static constexpr int kSharedBytes = (kKeyStages + kValueStages) * kTileBytes;

  uint8_t* shared;

  __device__ uint8_t* Keys(int tile) const { return shared + tile % kKeyStages * kTileBytes; }
  __device__ uint8_t* Values(int tile) const {
    return shared + (kKeyStages + tile % kValueStages) * kTileBytes;
  }
};

// Chunks of 16 bytes in a row. A thread copies one of a row, in rounds.
template <int kHeadDim>
inline constexpr int kRowChunks = kHeadDim / 8;

// Begins to copy tile `tile`, with zeros for positions from `end` on. All threads; `head` begins at
// the thread's chunk.
template <int kHeadDim>
__device__ __forceinline__ void CopyTile(const PagedHead<kHeadDim>& head, Tiles<kHeadDim> tiles,
                                         int tile, int32_t end) {
  constexpr int kChunks = kRowChunks<kHeadDim>;
  constexpr int kRows = kThreads / kChunks;  // In a round.
  constexpr int kRounds = kKeys / kRows;
  constexpr int kBatch = 4;  // Entries that are waited for together.
  static_assert(kRows % 8 == 0 && kRounds % kBatch == 0);
  const int row = static_cast<int>(threadIdx.x) / kChunks;
  const int chunk = static_cast<int>(threadIdx.x) % kChunks;
  int to = chunk / 8 * Tiles<kHeadDim>::kPanelBytes + SwizzledOffset(row, chunk % 8);
  int32_t position = tile * kKeys + row;
  uint8_t* const keys = tiles.Keys(tile);
  uint8_t* const values = tiles.Values(tile);
#pragma unroll 1
  for (int batch = 0; batch < kRounds; batch += kBatch) {
    int32_t indices[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int32_t at = position + i * kRows;
      indices[i] = at < end ? head.Index(at) : 0;
    }
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const bool valid = position < end;
      const uint8_t* const key = head.Key(indices[i], position);
      CopyAsync16(keys + to, key, valid);
      CopyAsync16(values + to, key + head.value_offset_bytes, valid);
      position += kRows;
      to += kRows * kSwizzleRowBytes;
    }
  }
  CopyAsyncCommit();
}

// Waits until all but the newest `pending` tiles are there for all threads to multiply by.
template <int pending>
__device__ __forceinline__ void WaitForTile() {
  CopyAsyncWait<pending>();
  FenceAsyncProxy();
  __syncthreads();
}

// A lane's part of 64 query rows: rows lane / 4 and lane / 4 + 8 of its warp's 16.
template <int kHeadDim>
class WarpgroupAttention {
 public:
  // Takes the queries of this lane's two rows; null for a row that is not there (its query is 0).
  // `zero` is 0, which the compiler must not know.
  __device__ __forceinline__ WarpgroupAttention(const uint16_t* const (&queries)[2], float scale,
                                                uint32_t zero)
      : softmax_(scale), zero_(zero) {
    const int lane = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int m = 0; m < kHeadDim / 32; ++m) {
        uint4 v = make_uint4(0, 0, 0, 0);
        if (queries[half] != nullptr) {
          v = *reinterpret_cast<const uint4*>(queries[half] + (m * 4 + lane) * 8);
        }
        uint32_t w[4] = {v.x, v.y, v.z, v.w};
        TransposeQuad(w);
        query_[m * 2][half] = w[0];
        query_[m * 2][half + 2] = w[1];
        query_[m * 2 + 1][half] = w[2];
        query_[m * 2 + 1][half + 2] = w[3];
      }
    }
#pragma unroll
    for (int n = 0; n < kHeadDim / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) out_[n][i] = 0;
    }
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) {
#pragma unroll
      for (int i = 0; i < 4; ++i) weights_[k][i] = 0;
    }
  }

  // Queues scores = query x keys.
  __device__ __forceinline__ void BeginScores(const uint8_t* keys) {
    KeepRegisters(query_);
    WarpgroupArrive();
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) {
      const uint8_t* const columns = keys + k / 4 * Tiles<kHeadDim>::kPanelBytes + k % 4 * 32;
      const uint64_t b = SwizzledMatrix(columns, 16, kSwizzleAtomBytes);
      if (k == 0) {
        WarpgroupMma<false>(scores_, query_[k], b);
      } else {
        WarpgroupMma<true>(scores_, query_[k], b);
      }
    }
    WarpgroupCommit();
  }

  // Queues out += weights x values.
  __device__ __forceinline__ void BeginAccumulate(const uint8_t* values) {
    KeepRegisters(weights_);
    KeepRegisters(out_);
    WarpgroupArrive();
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) {
      WarpgroupMmaRows(out_, weights_[k],
                       SwizzledMatrix(values + k * 16 * kSwizzleRowBytes,
                                      Tiles<kHeadDim>::kPanelBytes, kSwizzleAtomBytes));
    }
    WarpgroupCommit();
  }

  // Waits for the scores, behind which `pending` groups are queued.
  template <int pending>
  __device__ __forceinline__ void FinishScores() {
    WarpgroupWait<pending>();
    KeepRegisters(scores_);
  }

  // Makes the scores weights: of row `half` the first visible[half] keys count. `mask`: whether
  // that is not all of them, for any row of the warp.
  __device__ __forceinline__ void Weigh(bool mask, const int (&visible)[2]) {
    if (mask) softmax_.Mask(visible, scores_);
    softmax_.Weigh(scores_, factor_);
    // Results of two adjacent tiles of 8 columns are, rounded, an operand of 16.
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) {
      next_weights_[k][0] = PackBf16(scores_[k * 2][0], scores_[k * 2][1]);
      next_weights_[k][1] = PackBf16(scores_[k * 2][2], scores_[k * 2][3]);
      next_weights_[k][2] = PackBf16(scores_[k * 2 + 1][0], scores_[k * 2 + 1][1]);
      next_weights_[k][3] = PackBf16(scores_[k * 2 + 1][2], scores_[k * 2 + 1][3]);
    }
    KeepRegisters(next_weights_);
  }

  // Waits for all that is queued; then the weights are the last scores'.
  __device__ __forceinline__ void FinishAccumulate() {
    WarpgroupWait<0>();
    KeepRegisters(out_);
#pragma unroll
    for (int k = 0; k < kKeys / 16; ++k) {
#pragma unroll
      // The old weights are used here so that their registers are nobody else's until here: the
      // compiler takes an operand's to be free as soon as the product is queued.
      for (int i = 0; i < 4; ++i) weights_[k][i] = next_weights_[k][i] | (weights_[k][i] & zero_);
    }
    ScaleRows(factor_, out_);
  }

  // Waits for all that is queued, and stores this lane's two rows (null: not there).
  __device__ __forceinline__ void Store(uint16_t* const (&rows)[2]) {
    WarpgroupWait<0>();
    KeepRegisters(out_);
    softmax_.Finish();
    const int lane = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float inverse = 1.0f / softmax_.sum(half);
#pragma unroll
      for (int m = 0; m < kHeadDim / 32; ++m) {
        uint32_t w[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float(&out)[4] = out_[m * 4 + i];
          w[i] = PackBf16(out[half * 2] * inverse, out[half * 2 + 1] * inverse);
        }
        TransposeQuad(w);
        if (rows[half] == nullptr) continue;
        *reinterpret_cast<uint4*>(rows[half] + (m * 4 + lane) * 8) =
            make_uint4(w[0], w[1], w[2], w[3]);
      }
    }
  }

 private:
  // Swaps words between the four lanes of a quad: lane q gets the others' w[q], in w[lane].
  __device__ __forceinline__ static void TransposeQuad(uint32_t (&w)[4]) {
    const int lane = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int bit = 1; bit < 4; bit *= 2) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if ((i & bit) != 0) continue;
        const bool upper = (lane & bit) != 0;
        const uint32_t other = __shfl_xor_sync(kAllLanes, upper ? w[i] : w[i | bit], bit);
        (upper ? w[i] : w[i | bit]) = other;
      }
    }
  }

  uint32_t query_[kHeadDim / 16][4];
  float scores_[kKeys / 8][4];
  uint32_t weights_[kKeys / 16][4];  // Of the products that are queued.
  uint32_t next_weights_[kKeys / 16][4];
  float out_[kHeadDim / 8][4];
  float factor_[2];
  OnlineSoftmax<kKeys> softmax_;
  uint32_t zero_;
};

// This lane's two rows.
struct LaneRows {
  int64_t place[2];  // In q and out, in elements; -1: not there.
  int position[2];   // One that is not there is masked like the tile's last.
  int seen;          // The last position that all rows of the warp see.

  __device__ __forceinline__ LaneRows(const EbbCudaPrefillAttention& op,
                                      const EbbCudaPrefillTile& tile, int kv_head) {
    const int group = op.heads / op.kv.kv_heads;
    const int last = tile.first_position + tile.row_count - 1;
    const int warp_row = static_cast<int>(threadIdx.x) / kWarpLanes * kFragmentRows;
    for (int half = 0; half < 2; ++half) {
      const int row = warp_row + half * 8 + static_cast<int>(threadIdx.x) % kWarpLanes / 4;
      const int token = row / group;
      const int64_t head =
          int64_t{tile.first_row + token} * op.heads + kv_head * group + row % group;
      place[half] = token < tile.row_count ? head * op.kv.head_dim : -1;
      position[half] = min(tile.first_position + token, last);
    }
    seen = min(tile.first_position + warp_row / group, last);
  }
};

template <int kHeadDim>
__device__ __forceinline__ void Prefill(const PrefillParams& params, Tiles<kHeadDim> tiles) {
  const EbbCudaPrefillAttention& op = params.op;
  const int kv_heads = op.kv.kv_heads;
  const EbbCudaPrefillTile tile = op.tiles[blockIdx.x / kv_heads];
  const int kv_head = static_cast<int>(blockIdx.x) % kv_heads;
  PagedHead<kHeadDim> head(op.kv, op.tables, op.layer, tile.sequence, kv_head);
  head.keys += threadIdx.x % kRowChunks<kHeadDim> * 16;
  const int32_t end = tile.first_position + tile.row_count;
  const int last = (end - 1) / kKeys;  // The last tile of keys.

  CopyTile(head, tiles, 0, end);
  if (last >= 1) {
    CopyTile(head, tiles, 1, end);
  } else {
    CopyAsyncCommit();
  }
  // The barrier before tile t; it begins the copy of the next one.
  const auto advance = [&](int t) {
    WaitForTile<0>();
    if (t < last) CopyTile(head, tiles, t + 1, end);
  };
  // By a shuffle, so that the compiler sees that it is one for the whole warp.
  const int warpgroup =
      __shfl_sync(kAllLanes, static_cast<int>(threadIdx.x) / kWarpgroupThreads, 0);
  if (warpgroup * kWarpgroupRows >= tile.row_count * (op.heads / kv_heads)) {
    // It has no rows, and copies for the other one.
    WaitForTile<1>();
    for (int t = 1; t <= last; ++t) advance(t);
    return;
  }

  const LaneRows rows(op, tile, kv_head);
  WarpgroupAttention<kHeadDim> attention({rows.place[0] < 0 ? nullptr : op.q + rows.place[0],
                                          rows.place[1] < 0 ? nullptr : op.q + rows.place[1]},
                                         params.scale, static_cast<uint32_t>(op.layer) >> 31);
  const auto weigh = [&](int t) {
    const int first = t * kKeys;
    attention.Weigh(rows.seen < first + kKeys - 1,
                    {rows.position[0] - first + 1, rows.position[1] - first + 1});
  };
  const bool late = warpgroup == 1;
  WaitForTile<1>();
  attention.BeginScores(tiles.Keys(0));
  attention.template FinishScores<0>();
  if (late && last > 0) advance(1);
  weigh(0);
  // The loop begins with the wait that could stand before its Weigh's end: the compiler moves waits
  // up through arithmetic, here the softmax, but not through the head of a loop.
#pragma unroll 1
  for (int t = 0; t < last; ++t) {
    attention.FinishAccumulate();
    if (!late) advance(t + 1);
    attention.BeginScores(tiles.Keys(t + 1));
    attention.BeginAccumulate(tiles.Values(t));
    attention.template FinishScores<1>();
    if (late && t + 1 < last) advance(t + 2);
    weigh(t + 1);
  }
  attention.FinishAccumulate();
  attention.BeginAccumulate(tiles.Values(last));
  attention.Store({rows.place[0] < 0 ? nullptr : op.out + rows.place[0],
                   rows.place[1] < 0 ? nullptr : op.out + rows.place[1]});
}

template <int kHeadDim>
__global__ void EBB_LAUNCH_BOUNDS(kThreads, 1) PrefillSm90Kernel(const PrefillParams params) {
  LetLaterWorkStart();
  AwaitEarlierWork();
  EBB_DYNAMIC_SHARED_1024(shared);
  if constexpr (kHaveWarpgroupMma) Prefill<kHeadDim>(params, Tiles<kHeadDim>{shared});
}

template <int kHeadDim>
int32_t Launch(EbbCudaStream* stream, const PrefillParams& params) {
  const unsigned blocks =
      static_cast<unsigned>(params.op.tile_count) * static_cast<unsigned>(params.op.kv.kv_heads);
  return LaunchKernel(PrefillSm90Kernel<kHeadDim>, dim3(blocks), dim3(kThreads),
                      Tiles<kHeadDim>::kSharedBytes, stream, params);
}

}  // namespace

bool PrefillSm90Serves(int32_t head_dim) { return head_dim == 64 || head_dim == 128; }

int32_t LaunchPrefillSm90(EbbCudaStream* stream, const PrefillParams& params) {
  return params.op.kv.head_dim == 64 ? Launch<64>(stream, params) : Launch<128>(stream, params);
}

}  // namespace ebb::kernels::cuda
