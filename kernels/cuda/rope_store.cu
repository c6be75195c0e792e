// What stands between the QKV projection and attention: bias, head norms, rotary embedding, and the
// write of keys and values into their blocks.
//
// Rotation: "RoFormer: Enhanced Transformer with Rotary Position Embedding" (Su et al., 2021). The
// angle is a float32 product and its sine and cosine are of float32, as Hugging Face transformers
// computes them: at position 131072 the product's rounding is the larger part of the difference
// from exact arithmetic, and it is the trained-with one.
#include "kernels/cuda/block_sum.cuh"
#include "kernels/cuda/op_check.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/prelude.cuh"

namespace ebb::kernels::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kPairsMax = 64;

enum class Part { kQuery, kKey, kValue };

// A lane's four dimensions of a head, from dimension 4 * lane.
struct Four {
  float v[4];
};

__device__ __forceinline__ Four LoadFour(const uint16_t* from, const float* bias) {
  const uint2 packed = *reinterpret_cast<const uint2*>(from);
  Four four = {
      {LowToFloat(packed.x), HighToFloat(packed.x), LowToFloat(packed.y), HighToFloat(packed.y)}};
  if (bias != nullptr) {
#pragma unroll
    for (int i = 0; i < 4; ++i) four.v[i] += bias[i];
  }
  return four;
}

// Where the head of a key or value goes.
__device__ __forceinline__ uint16_t* CacheRow(const EbbCudaRopeStore& p, int row, int position,
                                              int kv_head, bool value) {
  const int begin = p.tables.begins[p.sequence_of_row[row]];
  const int64_t index = p.tables.indices[begin + position / p.kv.block_tokens];
  uint8_t* part = p.kv.base + p.layer * p.kv.layer_stride_bytes + index * p.kv.index_stride_bytes;
  if (value) part += p.kv.value_offset_bytes;
  const int64_t token =
      static_cast<int64_t>(kv_head) * p.kv.block_tokens + position % p.kv.block_tokens;
  return reinterpret_cast<uint16_t*>(part) + token * p.kv.head_dim;
}

// A warp per head; blockIdx.x is the row, blockIdx.y a group of kWarps heads, which share the
// row's sines and cosines.
__global__ void EBB_LAUNCH_BOUNDS(kWarps * 32, 1) RopeStoreKernel(EbbCudaRopeStore p) {
  LetLaterWorkStart();
  AwaitEarlierWork();
  __shared__ float2 turns[kPairsMax];
  const int row = static_cast<int>(blockIdx.x);
  const int position = p.positions[row];
  if (position < 0) return;
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < p.pair_count) {
    float sine, cosine;
    sincosf(static_cast<float>(position) * p.frequencies[thread], &sine, &cosine);
    turns[thread] = make_float2(cosine, sine);
  }
  __syncthreads();

  const int head = static_cast<int>(blockIdx.y) * kWarps + thread / 32;
  const int dim = thread % 32 * 4;
  const int all_heads = p.heads + 2 * p.kv.kv_heads;
  if (head >= all_heads) return;
  const Part part = head < p.heads                   ? Part::kQuery
                    : head < p.heads + p.kv.kv_heads ? Part::kKey
                                                     : Part::kValue;
  const bool mine = dim < p.kv.head_dim;  // Narrow heads leave lanes idle.
  Four four = {{0, 0, 0, 0}};
  if (mine) {
    const int column = head * p.kv.head_dim + dim;
    four = LoadFour(p.qkv + static_cast<int64_t>(row) * all_heads * p.kv.head_dim + column,
                    p.bias == nullptr ? nullptr : p.bias + column);
  }
  const float* norm = part == Part::kQuery ? p.q_norm : p.k_norm;
  if (norm != nullptr && part != Part::kValue) {
    const float sum = WarpSum(four.v[0] * four.v[0] + four.v[1] * four.v[1] +
                              four.v[2] * four.v[2] + four.v[3] * four.v[3]);
    const float scale = rsqrtf(sum / static_cast<float>(p.kv.head_dim) + p.norm_epsilon);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (mine) four.v[i] = four.v[i] * scale * norm[dim + i];
    }
  }
  if (!mine) return;
  if (part != Part::kValue) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int pair = dim / 2 + i;
      if (pair >= p.pair_count) break;
      const float x = four.v[2 * i];
      const float y = four.v[2 * i + 1];
      four.v[2 * i] = x * turns[pair].x - y * turns[pair].y;
      four.v[2 * i + 1] = x * turns[pair].y + y * turns[pair].x;
    }
  }
  uint16_t* to =
      part == Part::kQuery
          ? p.q_out + (static_cast<int64_t>(row) * p.heads + head) * p.kv.head_dim
          : CacheRow(p, row, position, (head - p.heads) % p.kv.kv_heads, part == Part::kValue);
  *reinterpret_cast<uint2*>(to + dim) =
      make_uint2(PackBf16(four.v[0], four.v[1]), PackBf16(four.v[2], four.v[3]));
}

int32_t CheckRopeStore(const EbbCudaRopeStore& op) {
  const EbbCudaKv& kv = op.kv;
  if (kv.head_dim != 32 && kv.head_dim != 64 && kv.head_dim != 96 && kv.head_dim != 128) {
    return Invalid("rope_store", "head_dim is none of 32, 64, 96, 128");
  }
  if (kv.block_tokens < 8 || kv.block_tokens > 256 ||
      (kv.block_tokens & (kv.block_tokens - 1)) != 0) {
    return Invalid("rope_store", "block_tokens is no power of two from 8 to 256");
  }
  if (op.heads <= 0 || kv.kv_heads <= 0 || op.heads % kv.kv_heads != 0) {
    return Invalid("rope_store", "heads are not a multiple of kv_heads");
  }
  if (op.layer < 0 || op.layer >= kv.layers) return Invalid("rope_store", "no such layer");
  if (op.pair_count < 0 || op.pair_count > kv.head_dim / 2) {
    return Invalid("rope_store", "pair_count is more than half of head_dim");
  }
  if (!AllGiven({op.qkv, op.positions, op.sequence_of_row, op.q_out, op.tables.indices,
                 op.tables.begins, kv.base}) ||
      (op.pair_count > 0 && op.frequencies == nullptr)) {
    return Invalid("rope_store", kNeedsPointers);
  }
  if ((op.q_norm == nullptr) != (op.k_norm == nullptr)) {
    return Invalid("rope_store", "one of q_norm and k_norm is given");
  }
  if (!AllAligned16({op.qkv, op.q_out, kv.base}) || kv.layer_stride_bytes % 16 != 0 ||
      kv.index_stride_bytes % 16 != 0 || kv.value_offset_bytes % 16 != 0) {
    return Invalid("rope_store", kNeedsAlignment);
  }
  return EBB_CUDA_OK;
}

}  // namespace

int32_t LaunchRopeStore(EbbCudaStream* stream, const EbbCudaRopeStore* op) {
  if (op == nullptr) return Invalid("rope_store", kNeedsPointers);
  if (op->rows < 0) return Invalid("rope_store", "negative rows");
  if (op->rows == 0) return EBB_CUDA_OK;
  const int32_t code = CheckRopeStore(*op);
  if (code != EBB_CUDA_OK) return code;
  const auto groups =
      static_cast<unsigned>((op->heads + 2 * op->kv.kv_heads + kWarps - 1) / kWarps);
  return LaunchKernel(RopeStoreKernel, dim3(static_cast<unsigned>(op->rows), groups),
                      dim3(kWarps * 32), 0, stream, *op);
}

}  // namespace ebb::kernels::cuda
