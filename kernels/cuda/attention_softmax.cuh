// The softmax of attention, carried from one tile of keys to the next (Milakov and Gimelshein,
// "Online normalizer calculation for softmax", 2018).
//
// Scores lie as the tensor cores leave them: of every 8 columns a lane holds 2 * (lane % 4) and the
// next one, of two rows ("halves"), lane / 4 and lane / 4 + 8 of its warp's 16:
//
//   scores[n][half * 2 + i]   row lane / 4 + half * 8, column n * 8 + 2 * (lane % 4) + i
//
// Device code, for all lanes of a warp together.
#pragma once

#include "kernels/cuda/prelude.cuh"

namespace ebb::kernels::cuda {

inline constexpr int kWarpLanes = 32;
inline constexpr unsigned kAllLanes = 0xFFFFFFFFu;

__device__ inline float MinusInfinity() { return __uint_as_float(0xFF800000u); }

template <int kKeys>
class OnlineSoftmax {
 public:
  using Scores = float[kKeys / 8][4];

  // `scale` is log2(e) / sqrt(head_dim).
  __device__ __forceinline__ explicit OnlineSoftmax(float scale) : scale_(scale) {
    for (int half = 0; half < 2; ++half) {
      max_[half] = MinusInfinity();
      sum_[half] = 0;
    }
  }

  // What a row does not see scores -infinity, whatever garbage it was computed from: all but the
  // tile's first visible[half] keys.
  __device__ __forceinline__ static void Mask(const int (&visible)[2], Scores& scores) {
    const int column = static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (n * 8 + column + i % 2 >= visible[i / 2]) scores[n][i] = MinusInfinity();
      }
    }
  }

  // Replaces scores by weights relative to the rows' new maximum. factor[half]: by what sums of
  // earlier tiles' weights are to be scaled; exactly 1 when the maximum stays.
  __device__ __forceinline__ void Weigh(Scores& scores, float (&factor)[2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float tile_max = MinusInfinity();
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) {
        tile_max = fmaxf(tile_max, fmaxf(scores[n][half * 2], scores[n][half * 2 + 1]));
      }
      tile_max = fmaxf(tile_max, __shfl_xor_sync(kAllLanes, tile_max, 1));
      tile_max = fmaxf(tile_max, __shfl_xor_sync(kAllLanes, tile_max, 2));
      const float new_max = fmaxf(max_[half], tile_max);
      // -infinity minus itself is NaN: a row that has seen nothing is measured from 0.
      const float reference = new_max == MinusInfinity() ? 0.0f : new_max;
      // The difference first: it is exactly 0, and the factor exactly 1, when the maximum stays.
      factor[half] = Exp2((max_[half] - reference) * scale_);
      const float shift = -reference * scale_;
      float tile_sum = 0;
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
        for (int i = half * 2; i < half * 2 + 2; ++i) {
          scores[n][i] = Exp2(fmaf(scores[n][i], scale_, shift));
          tile_sum += scores[n][i];
        }
      }
      max_[half] = new_max;
      sum_[half] = sum_[half] * factor[half] + tile_sum;
    }
  }

  // Completes the rows' sums, which until then each lane holds for its own columns.
  __device__ __forceinline__ void Finish() {
    for (int half = 0; half < 2; ++half) {
      sum_[half] += __shfl_xor_sync(kAllLanes, sum_[half], 1);
      sum_[half] += __shfl_xor_sync(kAllLanes, sum_[half], 2);
    }
  }

  // The largest score of this lane's row `half`, not scaled; -infinity when it saw no key.
  __device__ float max(int half) const { return max_[half]; }
  // REQUIRES: Finish() was called.
  __device__ float sum(int half) const { return sum_[half]; }

 private:
  float max_[2];
  float sum_[2];
  float scale_;
};

// Scales this lane's two rows. Rows find their maximum early: most tiles leave all of a warp's as
// they were.
template <int kTiles>
__device__ __forceinline__ void ScaleRows(const float (&factor)[2], float (&out)[kTiles][4]) {
  if (__any_sync(kAllLanes, factor[0] != 1.0f || factor[1] != 1.0f)) {
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) out[n][i] *= factor[i / 2];
    }
  }
}

}  // namespace ebb::kernels::cuda
