// Causal attention of many rows of a sequence over its paged keys and values: which form of it
// runs, and the form that any device from sm_80 on runs. (attention_prefill_sm90.cu has Hopper's.)
//
// A CTA takes half a tile of rows and one key head: the tile's token rows times the query heads
// that share the key head are up to 128 query rows (row r is token r / group, head r % group), of
// which a CTA takes 64, 16 for each of four warps. Tiles of 64 positions, gathered through the
// block table, are copied to one half of shared memory while the other is computed on.
//
//   shared memory:  [ keys 64 x head_dim ][ values 64 x head_dim ]  x 2
//
// Tiles of positions begin at multiples of 64 from 0 for every row, and those past a row's own
// position change nothing of it: so a row's bits do not depend on how a prompt was cut into chunks
// or tiles. Memory past the tile's last position is never read: neither blocks that are not mapped,
// nor what the last block holds from earlier use; such rows are zeros in shared memory, since a
// weight of 0 times NaN were NaN.
//
// Floor: 4 * head_dim * heads operations for each row and position it sees, over the rate of
// mma.sync. Every warp reads all of a tile's keys and values for its 16 rows, which takes the
// bandwidth of shared memory about as long (32 KiB for 2^19 operations at head_dim 128); and it
// issues about 660 instructions for a tile, 128 of them products, 64 ldmatrix.
// By ptxas for sm_90a: 116, 153, 162 and 168 registers for head_dim 32, 64, 96 and 128, and one
// spilled at 128; with up to 68 KiB of shared memory three CTAs (12 warps) fit an SM of an H100.
#include <cstdint>

#include "device/cuda/cuda_error.h"
#include "kernels/cuda/attention_check.h"
#include "kernels/cuda/attention_prefill.h"
#include "kernels/cuda/attention_shape.h"
#include "kernels/cuda/attention_warp.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/prelude.cuh"

namespace ebb::kernels::cuda {
namespace {

constexpr int kRows = 64;  // Of a CTA.
constexpr int kTileCtas = EBB_CUDA_PREFILL_TILE_ROWS / kRows;
constexpr int kWarps = kRows / kFragmentRows;
constexpr int kThreads = kWarps * kWarpLanes;

// A tile of keys and values in shared memory.
template <int kHeadDim>
struct Stage {
  static constexpr int kBytes = kPrefillKeyTile * SharedRows<kHeadDim>::kRowBytes;
  static constexpr int kStages = 2;
  static constexpr int kSharedBytes = kStages * 2 * kBytes;

  uint8_t* keys;
  uint8_t* values;

  __device__ Stage(uint8_t* shared, int tile)
      : keys(shared + tile % kStages * (2 * kBytes)), values(keys + kBytes) {}
};

// Begins to copy positions first .. first + 63, zeros for those from `end` on. All threads.
template <int kHeadDim>
__device__ __forceinline__ void CopyTile(const PagedHead<kHeadDim>& head, int32_t first,
                                         int32_t end, Stage<kHeadDim> stage) {
  using Rounds = CopyRounds<kHeadDim, kThreads>;
  constexpr int kRounds = kPrefillKeyTile / Rounds::kRows;
  constexpr int kBatch = kRounds < 4 ? kRounds : 4;  // Entries that are waited for together.
  const int row = static_cast<int>(threadIdx.x) / Rounds::kChunks;
  const int column_bytes = static_cast<int>(threadIdx.x) % Rounds::kChunks * 16;
  if (row < Rounds::kRows) {
    int32_t position = first + row;
    int to = row * SharedRows<kHeadDim>::kRowBytes + column_bytes;
#pragma unroll 1
    for (int batch = 0; batch < kRounds; batch += kBatch) {
      int32_t indices[kBatch];
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const int32_t at = position + i * Rounds::kRows;
        indices[i] = at < end ? head.Index(at) : 0;
      }
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const bool valid = position < end;
        const uint8_t* const key = head.Key(indices[i], position) + column_bytes;
        CopyAsync16(stage.keys + to, key, valid);
        CopyAsync16(stage.values + to, key + head.value_offset_bytes, valid);
        position += Rounds::kRows;
        to += Rounds::kRows * SharedRows<kHeadDim>::kRowBytes;
      }
    }
  }
  CopyAsyncCommit();
}

template <int kHeadDim>
__global__ void EBB_LAUNCH_BOUNDS(kThreads, 3) PrefillKernel(const PrefillParams params) {
  LetLaterWorkStart();
  AwaitEarlierWork();
  EBB_DYNAMIC_SHARED(shared);
  const EbbCudaPrefillAttention& op = params.op;
  const int kv_heads = op.kv.kv_heads;
  const int group = op.heads / kv_heads;
  const int piece = static_cast<int>(blockIdx.x) / kv_heads;
  const int kv_head = static_cast<int>(blockIdx.x) % kv_heads;
  const EbbCudaPrefillTile tile = op.tiles[piece / kTileCtas];
  // The later rows, which see more, first.
  const int cta_row = (kTileCtas - 1 - piece % kTileCtas) * kRows;
  if (cta_row >= tile.row_count * group) return;
  const PagedHead<kHeadDim> head(op.kv, op.tables, op.layer, tile.sequence, kv_head);

  const int warp_row = cta_row + static_cast<int>(threadIdx.x) / kWarpLanes * kFragmentRows;
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  int place[2] = {-1, -1};  // Of this lane's rows in q and out, in heads; -1: not there.
  int position[2] = {-1, -1};
  for (int half = 0; half < 2; ++half) {
    const int row = warp_row + half * 8 + lane / 4;
    if (row / group >= tile.row_count) continue;
    position[half] = tile.first_position + row / group;
    place[half] = (tile.first_row + row / group) * op.heads + kv_head * group + row % group;
  }
  // The last position that any row of the warp sees; -1 when the warp has no rows.
  const int last_token = min((warp_row + kFragmentRows - 1) / group, tile.row_count - 1);
  const int warp_last = warp_row / group < tile.row_count ? tile.first_position + last_token : -1;

  const int32_t end = tile.first_position + min((cta_row + kRows - 1) / group + 1, tile.row_count);
  const int tile_count = (end + kPrefillKeyTile - 1) / kPrefillKeyTile;
  CopyTile<kHeadDim>(head, 0, end, Stage<kHeadDim>(shared, 0));
  WarpAttention<kHeadDim, kPrefillKeyTile> attention(
      place[0] < 0 ? nullptr : op.q + int64_t{place[0]} * kHeadDim,
      place[1] < 0 ? nullptr : op.q + int64_t{place[1]} * kHeadDim, params.scale);
  for (int t = 0; t < tile_count; ++t) {
    const int32_t first = t * kPrefillKeyTile;
    CopyAsyncWait<0>();
    // All copies of tile t have landed, and no warp reads tile t - 1 any more.
    __syncthreads();
    if (t + 1 < tile_count) {
      CopyTile<kHeadDim>(head, first + kPrefillKeyTile, end, Stage<kHeadDim>(shared, t + 1));
    }
    if (first <= warp_last) {
      const Stage<kHeadDim> stage(shared, t);
      const int visible[2] = {position[0] - first + 1, position[1] - first + 1};
      attention.Attend(stage.keys, stage.values, visible);
    }
  }

  attention.Finish();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (place[half] < 0) continue;
    const float inverse = 1.0f / attention.sum(half);
    uint16_t* const row = op.out + int64_t{place[half]} * kHeadDim + lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < kHeadDim / 8; ++n) {
      *reinterpret_cast<uint32_t*>(row + n * 8) =
          PackBf16(attention.out(half, n, 0) * inverse, attention.out(half, n, 1) * inverse);
    }
  }
}

template <int kHeadDim>
int32_t Launch(EbbCudaStream* stream, const PrefillParams& params) {
  const unsigned blocks = static_cast<unsigned>(params.op.tile_count) * kTileCtas *
                          static_cast<unsigned>(params.op.kv.kv_heads);
  return LaunchKernel(PrefillKernel<kHeadDim>, dim3(blocks), dim3(kThreads),
                      Stage<kHeadDim>::kSharedBytes, stream, params);
}

}  // namespace

int32_t LaunchPrefillAttention(EbbCudaStream* stream, const EbbCudaPrefillAttention* op) {
  if (op == nullptr) {
    return device::SetError(EBB_CUDA_INVALID_ARGUMENT, "prefill_attention: op is null");
  }
  const int32_t code = CheckAttention("prefill_attention", op->q, op->out, op->tables, op->kv,
                                      op->layer, op->heads, op->tile_count);
  if (code != EBB_CUDA_OK) return code;
  if (op->heads / op->kv.kv_heads > EBB_CUDA_PREFILL_TILE_ROWS) {
    return device::SetError(EBB_CUDA_INVALID_ARGUMENT,
                            "prefill_attention: more than 128 query heads share a key head");
  }
  if (op->tile_count == 0) return EBB_CUDA_OK;
  if (op->tiles == nullptr) {
    return device::SetError(EBB_CUDA_INVALID_ARGUMENT, "prefill_attention: tiles is null");
  }
  const PrefillParams params = {*op, AttentionScale(op->kv.head_dim)};
  if (device::UsesHopper(stream) && PrefillSm90Serves(op->kv.head_dim)) {
    return LaunchPrefillSm90(stream, params);
  }
  switch (op->kv.head_dim) {
    case 32:
      return Launch<32>(stream, params);
    case 64:
      return Launch<64>(stream, params);
    case 96:
      return Launch<96>(stream, params);
    default:
      return Launch<128>(stream, params);
  }
}

}  // namespace ebb::kernels::cuda
