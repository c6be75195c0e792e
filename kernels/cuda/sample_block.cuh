// What the sampling kernels are made of: keys, masses, and what warps and blocks do together.
//
// Every sum is over integers: a token's weight is a fixed-point number, exp(..) * 2^43 of at most
// 2^20 tokens, so that no sum overflows and none depends on the order in which threads add. A row's
// answer is therefore the same bits in every run, whatever the number of blocks or other rows.
#pragma once

#include <cstdint>

#include "kernels/cuda/prelude.cuh"

namespace ebb::kernels::cuda {

// Of tokens: a count, or a sum of fixed-point weights.
using Mass = unsigned long long;

constexpr int kWarpLanes = 32;
constexpr unsigned kWholeWarp = 0xFFFFFFFFu;
constexpr int kWarpsMax = 32;
constexpr double kMassOfOne = 8796093022208.0;  // 2^43: the weight of the most likely token.

// Keys are logits as integers of the same order; -0 has the key of 0.
constexpr uint32_t kKeyOfMinusInfinity = 0x007FFFFFu;
constexpr uint32_t kKeyOfInfinity = 0xFF800000u;
constexpr uint32_t kKeyOfNan = 0xFFFFFFFFu;  // A mark: KeyOf gives it for no number.

// ---- one thread

__device__ inline float MinusInfinity() { return __uint_as_float(0xFF800000u); }

__device__ inline uint32_t KeyOf(float logit) {
  uint32_t bits = __float_as_uint(logit);
  if (bits == 0x80000000u) bits = 0;
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

__device__ inline float LogitOf(uint32_t key) {
  return __uint_as_float((key & 0x80000000u) != 0 ? key & 0x7FFFFFFFu : ~key);
}

// The key and the id in one number that is larger the earlier a token stands among the most likely.
// No two tokens have the same; none is 0.
__device__ inline Mass RankOf(uint32_t key, int32_t id) {
  return (static_cast<Mass>(key) << 32) | (0xFFFFFFFFu - static_cast<uint32_t>(id));
}
__device__ inline uint32_t KeyOfRank(Mass rank) { return static_cast<uint32_t>(rank >> 32); }
__device__ inline float LogitOfRank(Mass rank) { return LogitOf(KeyOfRank(rank)); }
__device__ inline int32_t IdOfRank(Mass rank) {
  return static_cast<int32_t>(0xFFFFFFFFu - static_cast<uint32_t>(rank));
}

// exp((logit - max) / temperature), in double as model/sampler.cc has it.
struct Softmax {
  double max;
  double inverse_temperature;
  double min_weight;  // min_p

  __device__ double WeightOf(float logit) const {
    const double x = (static_cast<double>(logit) - max) * inverse_temperature;
    return x < -31.0 ? 0.0 : exp(x);  // exp(-31) is less than half of the smallest mass.
  }
  __device__ Mass MassOf(float logit) const { return ToMass(WeightOf(logit)); }
  // None for what min_p drops.
  __device__ Mass KeptMassOf(float logit) const {
    const double weight = WeightOf(logit);
    return weight < min_weight ? 0 : ToMass(weight);
  }

 private:
  __device__ static Mass ToMass(double weight) { return FloorOfProduct(weight, kMassOfOne); }
};

// The mass that reaches `share` of `total`.
__device__ inline Mass ShareOf(float share, Mass total) {
  const double wanted = ceil(static_cast<double>(share) * static_cast<double>(total));
  const Mass mass = static_cast<Mass>(wanted);
  return mass < 1 ? 1 : min(mass, total);
}

// A mass to which threads add in shared memory. It is in two words because the device adds to words
// there at once, but to longer numbers by trying until no other thread comes between.
struct MassSum {
  uint32_t low;
  uint32_t high;

  __device__ Mass value() const { return static_cast<Mass>(high) << 32 | low; }
  __device__ void Set(Mass mass) {
    low = static_cast<uint32_t>(mass);
    high = static_cast<uint32_t>(mass >> 32);
  }
  // Beside other threads that add.
  __device__ void Add(Mass mass) {
    const uint32_t add = static_cast<uint32_t>(mass);
    const uint32_t sum = atomicAdd(&low, add) + add;
    const uint32_t carried = static_cast<uint32_t>(mass >> 32) + (sum < add ? 1 : 0);
    if (carried != 0) atomicAdd(&high, carried);
  }
};

// ---- one warp

__device__ inline int LaneOfThread() { return static_cast<int>(threadIdx.x) % kWarpLanes; }
__device__ inline int WarpOfThread() { return static_cast<int>(threadIdx.x) / kWarpLanes; }
__device__ inline int WarpsOfBlock() { return static_cast<int>(blockDim.x) / kWarpLanes; }

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

__device__ inline float WarpMin(float value) {
  for (int offset = kWarpLanes / 2; offset > 0; offset /= 2) {
    value = fminf(value, __shfl_xor_sync(kWholeWarp, value, offset));
  }
  return value;
}

// Calls add(bin, mass, tokens) so that each lane's mass, of one token, comes to its bin; lanes with
// a negative bin add nothing. Where many lanes have the same bin they add together.
template <typename AddToBin>
__device__ inline void WarpAdd(int bin, Mass mass, const AddToBin& add) {
  constexpr int kCrowd = 8;
  const unsigned adding = __ballot_sync(kWholeWarp, bin >= 0 ? 1 : 0);
  if (adding == 0) return;
  const int common = __shfl_sync(kWholeWarp, bin, __ffs(static_cast<int>(adding)) - 1);
  const unsigned same = __ballot_sync(kWholeWarp, bin == common ? 1 : 0);
  const int crowd = __popc(same);
  if (crowd >= kCrowd) {
    const Mass sum = WarpSum(bin == common ? mass : 0);
    if (LaneOfThread() == 0) add(common, sum, crowd);
    if (bin == common) return;
  }
  if (bin >= 0) add(bin, mass, 1);
}

// Appends the ranks of the lanes that want it to a list in device memory, in no order. *count also
// counts those for which the list has no place.
__device__ inline void WarpAppend(Mass* list, int32_t places, int32_t* count, Mass rank,
                                  bool wanted) {
  const unsigned lanes = __ballot_sync(kWholeWarp, wanted ? 1 : 0);
  if (lanes == 0) return;
  int32_t first = 0;
  if (LaneOfThread() == 0) first = atomicAdd(count, __popc(lanes));
  first = __shfl_sync(kWholeWarp, first, 0);
  const int32_t place = first + __popc(lanes & ((1u << LaneOfThread()) - 1));
  if (wanted && place < places) list[place] = rank;
}

// ---- the block

// Partial results of its warps, for one exchange after the other.
struct BlockExchange {
  Mass warps[kWarpsMax];
};

struct Scanned {
  Mass before;  // The sum of the values of all threads before this one.
  Mass total;
};

__device__ inline Scanned BlockScan(BlockExchange* exchange, Mass value) {
  const Mass upto = WarpScan(value);
  if (LaneOfThread() == kWarpLanes - 1) exchange->warps[WarpOfThread()] = upto;
  __syncthreads();
  Scanned scanned = {upto - value, 0};
  for (int w = 0; w < WarpsOfBlock(); ++w) {
    const Mass sum = exchange->warps[w];
    scanned.before += w < WarpOfThread() ? sum : 0;
    scanned.total += sum;
  }
  __syncthreads();
  return scanned;
}

__device__ inline Mass BlockSum(BlockExchange* exchange, Mass value) {
  value = WarpSum(value);
  if (LaneOfThread() == 0) exchange->warps[WarpOfThread()] = value;
  __syncthreads();
  Mass sum = 0;
  for (int w = 0; w < WarpsOfBlock(); ++w) sum += exchange->warps[w];
  __syncthreads();
  return sum;
}

}  // namespace ebb::kernels::cuda
