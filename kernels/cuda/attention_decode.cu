// Attention of one row per sequence over its paged keys and values: few operations on many bytes.
//
//   split (lane, positions) x key head = one CTA            lane x head = one warp of the merge
//
//   keys:  [16][16][16][16][16][16][16][16][..             slot 0  (maximum, sum, out) --.
//   warp:   0   1   2   3   0   1   2   3                   slot 1  (maximum, sum, out) --+--> out
//           '-> each its own softmax --> partial result     slot 2  (maximum, sum, out) --'
//
// The host cuts the lanes into splits (attention_plan.h) once per step; the grid covers the most
// splits that there can be, and CTAs without one end at once, so that a captured graph serves any
// step. The query heads that share a key head are the rows of the tensor cores' products: keys and
// values are read once for all of them (once for every 16 of them).
//
// A warp copies 16 keys and values at a time into its own part of shared memory and waits for
// nobody: `kStages` such copies are under way or in use. Merging, of warps and of splits, is in
// a fixed order. What is past a split's last position is never read (see attention_prefill.cu).
//
// Floor: the bytes of keys and values, 4 * head_dim * kv_heads for each position, over memory
// bandwidth. Tiles are 64 * head_dim bytes; while a warp computes on one, kStages - 1 are under
// way: with three CTAs per SM at least 72 KB, where an H100 needs about 40. By ptxas for sm_90a:
// 82, 116, 140 and 166 registers for head_dim 32, 64, 96 and 128, nothing spilled; up to 72 KiB of
// shared memory.
#include <cstdint>

#include "device/cuda/cuda_error.h"
#include "kernels/cuda/attention_check.h"
#include "kernels/cuda/attention_shape.h"
#include "kernels/cuda/attention_warp.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/prelude.cuh"

namespace ebb::kernels::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * kWarpLanes;
constexpr int kWarpKeys = kDecodeKeyTile / kWarps;
static_assert(kDecodeGroupTile == kFragmentRows);

struct DecodeParams {
  EbbCudaDecodeAttention op;
  float scale;  // log2(e) / sqrt(head_dim)
};

// A warp's part of shared memory: a ring of tiles of 16 keys and values; at the end, its result.
template <int kHeadDim>
struct WarpRing {
  static constexpr int kStages = kHeadDim <= 64 ? 4 : 2;
  static constexpr int kTileBytes = kWarpKeys * SharedRows<kHeadDim>::kRowBytes;
  static constexpr int kBytes = kStages * 2 * kTileBytes;

  uint8_t* begin;

  __device__ uint8_t* keys(int tile) const { return begin + tile % kStages * (2 * kTileBytes); }
  __device__ uint8_t* values(int tile) const { return keys(tile) + kTileBytes; }
};

// The result of a warp, in its part of shared memory. Rows lie 8 banks apart, and a warp writes
// pairs of 4 adjacent columns of each.
template <int kHeadDim>
struct WarpResult {
  float max[kFragmentRows];
  float sum[kFragmentRows];
  float out[kFragmentRows][kHeadDim + 8];
};

// A warp's way through its tiles of a split: every fourth one.
template <int kHeadDim>
class WarpTiles {
 public:
  __device__ __forceinline__ WarpTiles(const PagedHead<kHeadDim>& head,
                                       const EbbCudaDecodeSplit& split, WarpRing<kHeadDim> ring)
      : head_(head), ring_(ring), end_(split.first_position + split.token_count) {
    const int warp = static_cast<int>(threadIdx.x) / kWarpLanes;
    first_ = split.first_position + warp * kWarpKeys;
    count_ = first_ < end_ ? (end_ - first_ + kDecodeKeyTile - 1) / kDecodeKeyTile : 0;
    LoadIndex(0);
  }

  __device__ int count() const { return count_; }
  // Keys of a tile that the split has.
  __device__ int visible(int tile) const { return end_ - First(tile); }

  // Begins to copy a tile; none past the last. Tiles are copied in order.
  __device__ __forceinline__ void Copy(int tile) {
    if (tile < count_) {
      using Rounds = CopyRounds<kHeadDim, kWarpLanes>;
      const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
      const int row = lane / Rounds::kChunks;
      const int column_bytes = lane % Rounds::kChunks * 16;
      const int to = row * SharedRows<kHeadDim>::kRowBytes + column_bytes;
      uint8_t* const keys = ring_.keys(tile) + to;
      uint8_t* const values = ring_.values(tile) + to;
#pragma unroll
      for (int round = 0; round < kWarpKeys / Rounds::kRows; ++round) {
        const int in_tile = row + round * Rounds::kRows;
        const int32_t index = __shfl_sync(kAllLanes, index_, in_tile);
        if (row >= Rounds::kRows) continue;
        const int32_t position = First(tile) + in_tile;
        const bool valid = position < end_;
        const uint8_t* const key = head_.Key(index, position) + column_bytes;
        constexpr int kRoundBytes = Rounds::kRows * SharedRows<kHeadDim>::kRowBytes;
        CopyAsync16(keys + round * kRoundBytes, key, valid);
        CopyAsync16(values + round * kRoundBytes, key + head_.value_offset_bytes, valid);
      }
      LoadIndex(tile + 1);
    }
    CopyAsyncCommit();
  }

 private:
  __device__ int32_t First(int tile) const { return first_ + tile * kDecodeKeyTile; }

  // Lane l keeps the table's entry of key l % 16 of the next tile to copy.
  __device__ __forceinline__ void LoadIndex(int tile) {
    const int32_t position = First(tile) + static_cast<int>(threadIdx.x) % kWarpKeys;
    index_ = position < end_ ? head_.Index(position) : 0;
  }

  const PagedHead<kHeadDim> head_;
  const WarpRing<kHeadDim> ring_;
  const int32_t end_;
  int32_t first_;
  int count_;
  int32_t index_;
};

// Writes the CTA's partial results, those of its warps merged in order. All threads.
template <int kHeadDim>
__device__ __forceinline__ void MergeWarps(const uint8_t* shared, const EbbCudaDecodeAttention& op,
                                           int32_t slot, int first_head, int head_count,
                                           float scale) {
  for (int i = static_cast<int>(threadIdx.x); i < head_count * kHeadDim; i += kThreads) {
    const int row = i / kHeadDim;
    const int column = i % kHeadDim;
    const auto result = [&](int warp) {
      return reinterpret_cast<const WarpResult<kHeadDim>*>(shared +
                                                           warp * WarpRing<kHeadDim>::kBytes);
    };
    float maximum = MinusInfinity();
    for (int w = 0; w < kWarps; ++w) maximum = fmaxf(maximum, result(w)->max[row]);
    const float reference = maximum == MinusInfinity() ? 0.0f : maximum;
    float sum = 0;
    float out = 0;
    for (int w = 0; w < kWarps; ++w) {
      const float factor = Exp2((result(w)->max[row] - reference) * scale);
      sum += factor * result(w)->sum[row];
      out += factor * result(w)->out[row][column];
    }
    const int64_t at = static_cast<int64_t>(slot) * op.heads + first_head + row;
    op.partials[at * kHeadDim + column] = out;
    if (column == 0) {
      op.partial_stats[at * 2] = maximum;
      op.partial_stats[at * 2 + 1] = sum;
    }
  }
}

template <int kHeadDim>
__global__ void EBB_LAUNCH_BOUNDS(kThreads, kDecodeCtasPerSm)
    SplitKernel(const DecodeParams params) {
  LetLaterWorkStart();
  AwaitEarlierWork();
  EBB_DYNAMIC_SHARED(shared);
  using Ring = WarpRing<kHeadDim>;
  static_assert(Ring::kBytes >= static_cast<int>(sizeof(WarpResult<kHeadDim>)));
  const EbbCudaDecodeAttention& op = params.op;
  const int group = op.heads / op.kv.kv_heads;
  const int group_tiles = (group + kDecodeGroupTile - 1) / kDecodeGroupTile;
  const int ctas_per_split = op.kv.kv_heads * group_tiles;
  const int split_index = static_cast<int>(blockIdx.x) / ctas_per_split;
  if (split_index >= *op.plan.split_count) return;
  const EbbCudaDecodeSplit split = op.plan.splits[split_index];
  const int part = static_cast<int>(blockIdx.x) % ctas_per_split;
  const int kv_head = part / group_tiles;
  const int first_in_group = part % group_tiles * kDecodeGroupTile;
  const int first_head = kv_head * group + first_in_group;
  const int head_count = min(kDecodeGroupTile, group - first_in_group);

  const int warp = static_cast<int>(threadIdx.x) / kWarpLanes;
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const Ring ring = {shared + warp * Ring::kBytes};
  const PagedHead<kHeadDim> head(op.kv, op.tables, op.layer, split.lane, kv_head);
  WarpTiles<kHeadDim> tiles(head, split, ring);
  for (int t = 0; t < Ring::kStages - 1; ++t) tiles.Copy(t);
  const int row = lane / 4;
  const uint16_t* const q =
      op.q + (static_cast<int64_t>(split.lane) * op.heads + first_head) * kHeadDim;
  WarpAttention<kHeadDim, kWarpKeys> attention(
      row < head_count ? q + row * kHeadDim : nullptr,
      row + 8 < head_count ? q + (row + 8) * kHeadDim : nullptr, params.scale);
  for (int t = 0; t < tiles.count(); ++t) {
    tiles.Copy(t + Ring::kStages - 1);
    CopyAsyncWait<Ring::kStages - 1>();
    __syncwarp();  // All lanes' copies of tile t have landed.
    const int visible[2] = {tiles.visible(t), tiles.visible(t)};
    attention.Attend(ring.keys(t), ring.values(t), visible);
    __syncwarp();  // No lane reads tile t any more: its place may be copied to.
  }
  CopyAsyncWait<0>();
  __syncwarp();

  attention.Finish();
  auto* const result = reinterpret_cast<WarpResult<kHeadDim>*>(ring.begin);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (row + half * 8 >= head_count) continue;
    if (lane % 4 == 0) {
      result->max[row + half * 8] = attention.max(half);
      result->sum[row + half * 8] = attention.sum(half);
    }
#pragma unroll
    for (int n = 0; n < kHeadDim / 8; ++n) {
      *reinterpret_cast<float2*>(&result->out[row + half * 8][n * 8 + lane % 4 * 2]) =
          make_float2(attention.out(half, n, 0), attention.out(half, n, 1));
    }
  }
  __syncthreads();
  MergeWarps<kHeadDim>(shared, op, split.slot, first_head, head_count, params.scale);
}

// One warp for a lane's head: merges its slots in order.
template <int kHeadDim>
__global__ void EBB_LAUNCH_BOUNDS(kThreads, 1) MergeKernel(const DecodeParams params) {
  LetLaterWorkStart();
  AwaitEarlierWork();
  const EbbCudaDecodeAttention& op = params.op;
  const int thread_lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const int64_t item =
      static_cast<int64_t>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kWarpLanes;
  if (item >= static_cast<int64_t>(op.lanes) * op.heads) return;
  const int row = static_cast<int>(item / op.heads);
  const int head = static_cast<int>(item % op.heads);
  const int32_t begin = op.plan.slot_begins[row];
  const int32_t end = op.plan.slot_begins[row + 1];

  float maximum = MinusInfinity();
  for (int32_t slot = begin + thread_lane; slot < end; slot += kWarpLanes) {
    const int64_t at = static_cast<int64_t>(slot) * op.heads + head;
    maximum = fmaxf(maximum, op.partial_stats[at * 2]);
  }
  for (int distance = kWarpLanes / 2; distance > 0; distance /= 2) {
    maximum = fmaxf(maximum, __shfl_xor_sync(kAllLanes, maximum, distance));
  }
  const float reference = maximum == MinusInfinity() ? 0.0f : maximum;

  float sum = 0;
  float out[kHeadDim / kWarpLanes] = {};
  for (int32_t slot = begin; slot < end; ++slot) {
    const int64_t at = static_cast<int64_t>(slot) * op.heads + head;
    const float factor = Exp2((op.partial_stats[at * 2] - reference) * params.scale);
    sum += factor * op.partial_stats[at * 2 + 1];
#pragma unroll
    for (int j = 0; j < kHeadDim / kWarpLanes; ++j) {
      out[j] += factor * op.partials[at * kHeadDim + j * kWarpLanes + thread_lane];
    }
  }
  const float inverse = begin < end ? 1.0f / sum : 0.0f;
  uint16_t* const to = op.out + item * kHeadDim + thread_lane;
#pragma unroll
  for (int j = 0; j < kHeadDim / kWarpLanes; ++j) to[j * kWarpLanes] = ToBf16(out[j] * inverse);
}

template <int kHeadDim>
int32_t Launch(EbbCudaStream* stream, const DecodeParams& params) {
  const EbbCudaDecodeAttention& op = params.op;
  const int32_t group_tiles = (op.heads / op.kv.kv_heads + kDecodeGroupTile - 1) / kDecodeGroupTile;
  const auto splits =
      static_cast<unsigned>(op.slots_max) * static_cast<unsigned>(op.kv.kv_heads * group_tiles);
  const int32_t code = LaunchKernel(SplitKernel<kHeadDim>, dim3(splits), dim3(kThreads),
                                    kWarps * WarpRing<kHeadDim>::kBytes, stream, params);
  if (code != EBB_CUDA_OK) return code;
  const auto merges = static_cast<unsigned>((int64_t{op.lanes} * op.heads + kWarps - 1) / kWarps);
  return LaunchKernel(MergeKernel<kHeadDim>, dim3(merges), dim3(kThreads), 0, stream, params);
}

int32_t Refuse(const char* text) { return device::SetError(EBB_CUDA_INVALID_ARGUMENT, text); }

}  // namespace

int32_t LaunchDecodeAttention(EbbCudaStream* stream, const EbbCudaDecodeAttention* op) {
  if (op == nullptr) return Refuse("decode_attention: op is null");
  if (op->lanes < 0 || op->slots_max < 1) {
    return Refuse("decode_attention: lanes must be at least 0, slots_max at least 1");
  }
  const int32_t pieces = op->lanes == 0 ? 0 : op->lanes < op->slots_max ? op->slots_max : op->lanes;
  const int32_t code = CheckAttention("decode_attention", op->q, op->out, op->tables, op->kv,
                                      op->layer, op->heads, pieces);
  if (code != EBB_CUDA_OK) return code;
  if (op->lanes == 0) return EBB_CUDA_OK;
  if (op->plan.split_count == nullptr || op->plan.splits == nullptr ||
      op->plan.slot_begins == nullptr || op->partials == nullptr || op->partial_stats == nullptr) {
    return Refuse("decode_attention: a pointer of the plan or the partial results is null");
  }
  const DecodeParams params = {*op, AttentionScale(op->kv.head_dim)};
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
