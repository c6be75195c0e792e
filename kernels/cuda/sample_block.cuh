// What the sampling kernel is made of, one block for a row of logits.
//
// Every sum is over integers: a token's weight is a fixed-point number, exp(..) * 2^43 of at most
// 2^20 tokens, so that no sum overflows and none depends on the order in which threads add. A row's
// answer is therefore the same bits in every run, whatever the number of threads or other rows.
//
// Device code, for all threads of a block together unless it says otherwise.
#pragma once

#include <cstdint>

#include "device/cuda/cuda_api.h"
#include "kernels/cuda/prelude.cuh"

namespace ebb::kernels::cuda {

// Of tokens: a count, or a sum of fixed-point weights.
using Mass = unsigned long long;

constexpr int kSampleThreadsMax = 1024;
constexpr int kSampleListMax = 2048;
constexpr int kSampleSegmentsMax = 1024;
constexpr int kSampleSegmentAlign = 256;
constexpr int kSampleVocabularyMax = 1 << 20;
constexpr int kWarpLanes = 32;
constexpr unsigned kWholeWarp = 0xFFFFFFFFu;
constexpr double kMassOfOne = 8796093022208.0;  // 2^43: the weight of the most likely token.

// Keys are logits as integers of the same order; -0 has the key of 0.
constexpr uint32_t kKeyOfMinusInfinity = 0x007FFFFFu;
constexpr uint32_t kKeyOfInfinity = 0xFF800000u;
constexpr uint32_t kKeyOfNan = 0xFFFFFFFFu;  // A mark: KeyOf gives it for no number.

// A block's shared memory. The words that mark banned ids follow it.
struct SampleShared {
  Mass list[kSampleListMax];                   // Candidates: a token's rank key, see RankOf.
  Mass segments[kSampleSegmentsMax];           // Masses of stretches of adjacent ids.
  Mass bins[256];                              // Masses by a digit of the key.
  Mass warps[2][kWarpLanes];                   // Partial results of a reduction.
  uint32_t thread_best[2][kSampleThreadsMax];  // The largest key that a thread saw: raw, allowed.
  // Found by one warp for all.
  Mass found_needed;
  Mass found_mass;
  int32_t found_at;
  int32_t list_count;  // Candidates, also those for which the list had no place.
};

// One row: its logits, and one bit for each id that may not be chosen (null: all may).
struct SampleRow {
  const float* logits;
  int32_t vocabulary;
  const uint32_t* banned_words;
};

// ---- one thread

__device__ inline uint32_t KeyOf(float logit) {
  uint32_t bits = __float_as_uint(logit);
  if (bits == 0x80000000u) bits = 0;
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

__device__ inline float LogitOf(uint32_t key) {
  return __uint_as_float((key & 0x80000000u) != 0 ? key & 0x7FFFFFFFu : ~key);
}

// The key and the id in one number that is larger the earlier a token stands among the most likely.
__device__ inline Mass RankOf(uint32_t key, int32_t id) {
  return (static_cast<Mass>(key) << 32) | (0xFFFFFFFFu - static_cast<uint32_t>(id));
}
__device__ inline uint32_t KeyOfRank(Mass rank) { return static_cast<uint32_t>(rank >> 32); }
__device__ inline int32_t IdOfRank(Mass rank) {
  return static_cast<int32_t>(0xFFFFFFFFu - static_cast<uint32_t>(rank));
}

// The key under which a token is chosen: that of -infinity when it is banned.
__device__ inline uint32_t AllowedKey(const SampleRow& row, int32_t id, float logit) {
  if (row.banned_words != nullptr && (row.banned_words[id >> 5] >> (id & 31) & 1u) != 0) {
    return kKeyOfMinusInfinity;
  }
  return KeyOf(logit);
}

// exp((logit - max) / temperature), in double as model/sampler.cc has it.
struct Softmax {
  double max;
  double inverse_temperature;

  __device__ double WeightOf(float logit) const {
    const double x = (static_cast<double>(logit) - max) * inverse_temperature;
    return x < -31.0 ? 0.0 : exp(x);  // exp(-31) is less than half of the smallest mass.
  }
  __device__ Mass MassOf(float logit) const {
    return static_cast<Mass>(WeightOf(logit) * kMassOfOne);
  }
};

// Calls visit(id, logit) for each id of the row, once, in some thread; in one thread ids ascend.
// Each thread has four vector loads under way.
template <typename Visit>
__device__ inline void ForEachLogit(const SampleRow& row, const Visit& visit) {
  constexpr int kLoads = 4;
  const int32_t thread = static_cast<int32_t>(threadIdx.x);
  const int32_t threads = static_cast<int32_t>(blockDim.x);
  const int32_t past_boundary =
      static_cast<int32_t>(reinterpret_cast<uintptr_t>(row.logits) / sizeof(float) % 4);
  const int32_t head = min((4 - past_boundary) % 4, row.vocabulary);
  if (thread < head) visit(thread, row.logits[thread]);
  const float4* vectors = reinterpret_cast<const float4*>(row.logits + head);
  const int32_t vector_count = (row.vocabulary - head) / 4;
#pragma unroll 1
  for (int32_t first = thread; first < vector_count; first += kLoads * threads) {
    float4 loaded[kLoads];
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int32_t v = first + i * threads;
      if (v < vector_count) loaded[i] = vectors[v];
    }
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int32_t v = first + i * threads;
      const int32_t id = head + 4 * v;
      if (v < vector_count) {
        visit(id, loaded[i].x);
        visit(id + 1, loaded[i].y);
        visit(id + 2, loaded[i].z);
        visit(id + 3, loaded[i].w);
      }
    }
  }
  const int32_t tail = head + 4 * vector_count + thread;
  if (tail < row.vocabulary) visit(tail, row.logits[tail]);
}

// ---- one warp

__device__ inline int LaneOfThread() { return static_cast<int>(threadIdx.x) % kWarpLanes; }
__device__ inline int WarpOfThread() { return static_cast<int>(threadIdx.x) / kWarpLanes; }

// The sum of the values of this lane and all before it.
__device__ inline Mass WarpScan(Mass value) {
  const int lane = LaneOfThread();
  for (int offset = 1; offset < kWarpLanes; offset *= 2) {
    const Mass before = __shfl_sync(kWholeWarp, value, lane < offset ? lane : lane - offset);
    if (lane >= offset) value += before;
  }
  return value;
}

__device__ inline Mass WarpSum(Mass value) {
  for (int offset = kWarpLanes / 2; offset > 0; offset /= 2) {
    value += __shfl_xor_sync(kWholeWarp, value, offset);
  }
  return value;
}

__device__ inline Mass WarpMax(Mass value) {
  for (int offset = kWarpLanes / 2; offset > 0; offset /= 2) {
    const Mass other = __shfl_xor_sync(kWholeWarp, value, offset);
    value = other > value ? other : value;
  }
  return value;
}

// ---- the block

struct MassPair {
  Mass first;
  Mass second;
};

__device__ inline MassPair BlockSum(SampleShared* shared, Mass first, Mass second) {
  first = WarpSum(first);
  second = WarpSum(second);
  if (LaneOfThread() == 0) {
    shared->warps[0][WarpOfThread()] = first;
    shared->warps[1][WarpOfThread()] = second;
  }
  __syncthreads();
  MassPair sum = {0, 0};
  const int warps = static_cast<int>(blockDim.x) / kWarpLanes;
  for (int w = 0; w < warps; ++w) {
    sum.first += shared->warps[0][w];
    sum.second += shared->warps[1][w];
  }
  __syncthreads();
  return sum;
}

__device__ inline MassPair BlockMax(SampleShared* shared, Mass first, Mass second) {
  first = WarpMax(first);
  second = WarpMax(second);
  if (LaneOfThread() == 0) {
    shared->warps[0][WarpOfThread()] = first;
    shared->warps[1][WarpOfThread()] = second;
  }
  __syncthreads();
  MassPair best = {0, 0};
  const int warps = static_cast<int>(blockDim.x) / kWarpLanes;
  for (int w = 0; w < warps; ++w) {
    best.first = shared->warps[0][w] > best.first ? shared->warps[0][w] : best.first;
    best.second = shared->warps[1][w] > best.second ? shared->warps[1][w] : best.second;
  }
  __syncthreads();
  return best;
}

}  // namespace ebb::kernels::cuda
