// Matrix times a few vectors: as fast as the weight's bytes come.
//
// A block computes 16 or 32 outputs for up to 8 rows; its warps share out the inputs, each 16 bytes
// per lane and load, straight from memory to registers, and 8 such weight loads of a lane are in
// flight at a time (4 KiB a warp; an H100 needs about 18 KiB a multiprocessor to cover its
// latency).
//
// The multiplication is done by the tensor cores, so that 8 rows cost what one does: weights are
// the 16 x 16 operand, x the 16 x 8 one. The sum over the inputs has no order of its own, so a
// lane's 8 consecutive inputs take the fragment's places (2t, 2t + 1, 2t + 8, 2t + 9) of two
// multiplications, alike in both operands, and no shuffle or shared memory is needed. A column of
// the product depends on its own row of x alone. The warps' sums are added in their order.
#include "kernels/cuda/linear_parts.h"
#include "kernels/cuda/linear_store.cuh"
#include "kernels/cuda/prelude.cuh"

namespace ebb::kernels::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * 32;
constexpr int kTileOutputs = 16;
constexpr int kChunk = 32;  // Inputs that a warp reads of a row with one load a lane.
// Inputs of each of a block's outputs that are brought into the L2 cache while the kernel before
// still runs: 64 KiB a block with one tile, 128 KiB with two; blocks that do not fit the device at
// first find earlier work done and nothing to gain.
constexpr int kAheadInputs = 2048;

__device__ __forceinline__ uint4 LoadIf(bool valid, const uint16_t* from) {
  return valid ? *reinterpret_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
}

__device__ __forceinline__ uint4 LoadWeightIf(bool valid, const uint16_t* from) {
  return valid ? LoadOnce16(from) : make_uint4(0, 0, 0, 0);
}

// The first weights of the block's outputs, one for each of the first `count` threads. Weights are
// constant, so this need not wait for earlier work.
__device__ __forceinline__ void FetchAhead(const EbbCudaLinear& p, int output, int count) {
  if (static_cast<int>(threadIdx.x) >= count || output >= p.outputs) return;
  FetchToL2(p.weight + static_cast<int64_t>(output) * p.inputs,
            static_cast<uint32_t>(min(kAheadInputs, p.inputs)) * 2);
}

// The 32 inputs of a chunk, as two multiplications. `low`, `high`: rows g and g + 8 of the weights.
__device__ __forceinline__ void MultiplyChunk(float (&sum)[4], const uint4& low, const uint4& high,
                                              const uint4& x) {
  MmaBf16(sum, {low.x, high.x, low.y, high.y}, {x.x, x.y});
  MmaBf16(sum, {low.z, high.z, low.w, high.w}, {x.z, x.w});
}

// kTiles tiles of 16 outputs a block; kUnroll chunks in flight.
template <int kTiles, int kUnroll>
__global__ void EBB_LAUNCH_BOUNDS(kThreads, 2) GemvKernel(EbbCudaLinear p) {
  __shared__ float partials[kWarps][kTiles * kTileOutputs][kGemvRows];
  LetLaterWorkStart();
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int group = lane / 4;
  const int member = lane % 4;
  const int first_output = static_cast<int>(blockIdx.x) * kTiles * kTileOutputs;
  FetchAhead(p, first_output + static_cast<int>(threadIdx.x), kTiles * kTileOutputs);
  AwaitEarlierWork();
  const bool row_valid = group < p.rows;
  const uint16_t* x = p.x + static_cast<int64_t>(row_valid ? group : 0) * p.inputs;
  const uint16_t* weight = p.weight + static_cast<int64_t>(first_output + group) * p.inputs;

  float sum[kTiles][4] = {};
  for (int base = warp * kUnroll * kChunk; base < p.inputs; base += kWarps * kUnroll * kChunk) {
    uint4 low[kUnroll][kTiles];
    uint4 high[kUnroll][kTiles];
    uint4 row[kUnroll];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int input = base + u * kChunk + member * 8;
      const bool valid = input < p.inputs;
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
        const int output = first_output + tile * kTileOutputs + group;
        const uint16_t* from =
            weight + static_cast<int64_t>(tile * kTileOutputs) * p.inputs + input;
        low[u][tile] = LoadWeightIf(valid && output < p.outputs, from);
        high[u][tile] = LoadWeightIf(valid && output + 8 < p.outputs,
                                     from + static_cast<int64_t>(8) * p.inputs);
      }
      row[u] = LoadIf(valid && row_valid, x + input);
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
        MultiplyChunk(sum[tile], low[u][tile], high[u][tile], row[u]);
      }
    }
  }

#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    float* to = &partials[warp][tile * kTileOutputs + group][member * 2];
    *reinterpret_cast<float2*>(to) = make_float2(sum[tile][0], sum[tile][1]);
    *reinterpret_cast<float2*>(to + 8 * kGemvRows) = make_float2(sum[tile][2], sum[tile][3]);
  }
  __syncthreads();
  // A thread adds up and stores two adjacent outputs of a row.
  constexpr int kPairs = kTiles * kTileOutputs / 2;
  const int out_row = static_cast<int>(threadIdx.x) / kPairs;
  const int pair = static_cast<int>(threadIdx.x) % kPairs * 2;
  if (out_row >= p.rows || first_output + pair >= p.outputs) return;
  float first = 0;
  float second = 0;
  for (int i = 0; i < kWarps; ++i) {
    first += partials[i][pair][out_row];
    second += partials[i][pair + 1][out_row];
  }
  StoreLinearPair(p, out_row, first_output + pair, first, second);
}

static_assert(kThreads >= 2 * kTileOutputs / 2 * kGemvRows, "a thread stores one pair");

}  // namespace

int32_t LaunchLinearGemv(EbbCudaStream* stream, const EbbCudaLinear& op) {
  // Two tiles read x half as often, but need twice the outputs to fill the device.
  constexpr int kWide = 8192;
  const int block_outputs = op.outputs >= kWide ? 2 * kTileOutputs : kTileOutputs;
  const dim3 grid(static_cast<unsigned>((op.outputs + block_outputs - 1) / block_outputs));
  if (op.outputs >= kWide) {
    return LaunchKernel(GemvKernel<2, 2>, grid, dim3(kThreads), 0, stream, op);
  }
  return LaunchKernel(GemvKernel<1, 4>, grid, dim3(kThreads), 0, stream, op);
}

}  // namespace ebb::kernels::cuda
