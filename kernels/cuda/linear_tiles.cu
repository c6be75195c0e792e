// The matrix product of invariant mode: a row's bits do not depend on the other rows, their number,
// or its place among them.
//
// Each element of the product is one chain of tensor-core multiplications over the inputs, 16 at a
// time from the first to the last, whatever the tile; so tiles are chosen by the number of rows for
// speed alone. No input is split off. Rows past the end are zeros.
//
//   a stage in shared memory: x [kRows, 64] and weight [kOutputs, 64], bf16
//   a row: 8 pieces of 16 bytes, piece c of row r at c ^ (r % 8), so that 8 rows of a column lie
//          in different banks
//
// kStages stages are filled by asynchronous copies, all but one ahead of the one multiplied.
#include "kernels/cuda/linear_parts.h"
#include "kernels/cuda/linear_store.cuh"
#include "kernels/cuda/prelude.cuh"

namespace ebb::kernels::cuda {
namespace {

constexpr int kStageInputs = 64;
constexpr int kPieces = kStageInputs / 8;
constexpr int kRowBytes = kStageInputs * 2;

// A tile of kRows x kOutputs, computed by kRowWarps x kOutputWarps warps.
template <int kRowsOfTile, int kOutputsOfTile, int kRowWarpsOfTile, int kOutputWarpsOfTile,
          int kStagesOfTile>
struct Tile {
  static constexpr int kRows = kRowsOfTile;
  static constexpr int kOutputs = kOutputsOfTile;
  static constexpr int kOutputWarps = kOutputWarpsOfTile;
  static constexpr int kStages = kStagesOfTile;
  static constexpr int kThreads = kRowWarpsOfTile * kOutputWarps * 32;
  static constexpr int kWarpRows = kRows / kRowWarpsOfTile;
  static constexpr int kWarpOutputs = kOutputs / kOutputWarps;
  static constexpr int kRowSteps = kWarpRows / 16;       // Multiplications down a warp's part,
  static constexpr int kOutputSteps = kWarpOutputs / 8;  // and across.
  static constexpr int kStageBytes = (kRows + kOutputs) * kRowBytes;
  static_assert(kWarpRows % 16 == 0 && kWarpOutputs % 16 == 0);
};

__device__ __forceinline__ uint8_t* Piece(uint8_t* tile, int row, int piece) {
  return tile + row * kRowBytes + (piece ^ row % kPieces) * 16;
}

// Copies rows first .. first + kCount - 1 of a [count, inputs] matrix, inputs from `input`.
template <int kCount, int kThreads>
__device__ __forceinline__ void CopyTile(uint8_t* tile, const uint16_t* matrix, int first,
                                         int count, int input, int inputs) {
  constexpr int kAll = kCount * kPieces;
#pragma unroll
  for (int i = 0; i < (kAll + kThreads - 1) / kThreads; ++i) {
    const int at = i * kThreads + static_cast<int>(threadIdx.x);
    if (kAll % kThreads != 0 && at >= kAll) break;
    const int row = at / kPieces;
    const int piece = at % kPieces;
    const bool valid = first + row < count && input + piece * 8 < inputs;
    const int64_t from = static_cast<int64_t>(first + row) * inputs + input + piece * 8;
    CopyAsync16(Piece(tile, row, piece), matrix + (valid ? from : 0), valid);
  }
}

template <typename T>
__device__ __forceinline__ void CopyStage(const EbbCudaLinear& p, uint8_t* shared, int stage) {
  uint8_t* slot = shared + stage % T::kStages * T::kStageBytes;
  const int input = stage * kStageInputs;
  CopyTile<T::kRows, T::kThreads>(slot, p.x, static_cast<int>(blockIdx.x) * T::kRows, p.rows, input,
                                  p.inputs);
  CopyTile<T::kOutputs, T::kThreads>(slot + T::kRows * kRowBytes, p.weight,
                                     static_cast<int>(blockIdx.y) * T::kOutputs, p.outputs, input,
                                     p.inputs);
}

// Adds a stage's products to the warp's sums.
template <typename T>
__device__ __forceinline__ void MultiplyStage(float (&sum)[T::kRowSteps][T::kOutputSteps][4],
                                              uint8_t* x, uint8_t* weight, int warp_row,
                                              int warp_output, int lane) {
#pragma unroll
  for (int piece = 0; piece < kPieces; piece += 2) {
    uint32_t a[T::kRowSteps][4];
#pragma unroll
    for (int i = 0; i < T::kRowSteps; ++i) {
      LoadMatrix4(a[i], Piece(x, warp_row + i * 16 + lane % 16, piece + lane / 16));
    }
#pragma unroll
    for (int j = 0; j < T::kOutputSteps; j += 2) {
      // Outputs j * 8 .. + 7 in the first two matrices, the next eight in the others.
      uint32_t b[4];
      LoadMatrix4(
          b, Piece(weight, warp_output + j * 8 + lane % 8 + lane / 16 * 8, piece + lane / 8 % 2));
#pragma unroll
      for (int i = 0; i < T::kRowSteps; ++i) {
        MmaBf16(sum[i][j], a[i], {b[0], b[1]});
        MmaBf16(sum[i][j + 1], a[i], {b[2], b[3]});
      }
    }
  }
}

// blockIdx.x: the tile's rows (blocks that share weights run together); blockIdx.y: its outputs.
template <typename T>
__global__ void EBB_LAUNCH_BOUNDS(T::kThreads, 1) TileKernel(EbbCudaLinear p) {
  LetLaterWorkStart();
  AwaitEarlierWork();
  EBB_DYNAMIC_SHARED(shared);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp_row = warp / T::kOutputWarps * T::kWarpRows;
  const int warp_output = warp % T::kOutputWarps * T::kWarpOutputs;
  const int stages = (p.inputs + kStageInputs - 1) / kStageInputs;

#pragma unroll
  for (int stage = 0; stage < T::kStages - 1; ++stage) {
    if (stage < stages) CopyStage<T>(p, shared, stage);
    CopyAsyncCommit();
  }
  float sum[T::kRowSteps][T::kOutputSteps][4] = {};
  for (int stage = 0; stage < stages; ++stage) {
    CopyAsyncWait<T::kStages - 2>();
    __syncthreads();  // The stage is there for all, and all are done with the one before.
    if (stage + T::kStages - 1 < stages) CopyStage<T>(p, shared, stage + T::kStages - 1);
    CopyAsyncCommit();
    uint8_t* slot = shared + stage % T::kStages * T::kStageBytes;
    MultiplyStage<T>(sum, slot, slot + T::kRows * kRowBytes, warp_row, warp_output, lane);
  }

  const int row = static_cast<int>(blockIdx.x) * T::kRows + warp_row + lane / 4;
  const int output = static_cast<int>(blockIdx.y) * T::kOutputs + warp_output + lane % 4 * 2;
#pragma unroll
  for (int i = 0; i < T::kRowSteps; ++i) {
#pragma unroll
    for (int j = 0; j < T::kOutputSteps; ++j) {
      if (output + j * 8 >= p.outputs) continue;
      const float(&d)[4] = sum[i][j];
      const int at = row + i * 16;
      if (at < p.rows) StoreLinearPair(p, at, output + j * 8, d[0], d[1]);
      if (at + 8 < p.rows) StoreLinearPair(p, at + 8, output + j * 8, d[2], d[3]);
    }
  }
}

template <typename T>
int32_t LaunchTiles(EbbCudaStream* stream, const EbbCudaLinear& op) {
  const dim3 grid(static_cast<unsigned>((op.rows + T::kRows - 1) / T::kRows),
                  static_cast<unsigned>((op.outputs + T::kOutputs - 1) / T::kOutputs));
  return LaunchKernel(TileKernel<T>, grid, dim3(T::kThreads),
                      static_cast<size_t>(T::kStages) * T::kStageBytes, stream, op);
}

}  // namespace

int32_t LaunchLinearTiles(EbbCudaStream* stream, const EbbCudaLinear& op) {
  // Few rows are bound by the weight's bytes: narrow tiles for many blocks, and many stages.
  if (op.rows <= 16) return LaunchTiles<Tile<16, 32, 1, 2, 6>>(stream, op);
  if (op.rows <= 64) return LaunchTiles<Tile<64, 64, 2, 2, 4>>(stream, op);
  return LaunchTiles<Tile<128, 128, 2, 4, 3>>(stream, op);
}

}  // namespace ebb::kernels::cuda
