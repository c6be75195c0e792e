// What the sampling kernels are made of: keys, masses, and what warps and blocks do together.
//
// Every sum is over integers: a token's weight is a fixed-point number, exp(..) * 2^43, of at most
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
constexpr int kMassBits = 43;
constexpr double kMassOfOne = 0x1p43;  // The weight of the most likely token.

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

// 2^x * kMassOfOne for x in [-kExponentMax, 0], to 2^-50 of itself, and exactly for 0. Without a
// branch, so that several are under way in a thread.
constexpr double kExponentMax = 45.0;
__device__ __forceinline__ double ScaledExp2(double x) {
  // 2^f - 1 = f * (c[0] + c[1] f + ..) for f in [-0.5, 0.5], interpolated at Chebyshev's points.
  constexpr double c[] = {0x1.62e42fefa39f7p-1,  0x1.ebfbdff82c590p-3,  0x1.c6b08d7044119p-5,
                          0x1.3b2ab6fba385fp-7,  0x1.5d87fe908f88ap-10, 0x1.4309130378460p-13,
                          0x1.ffcb76789860fp-17, 0x1.62bfe46117445p-20, 0x1.b6571de2f2351p-24,
                          0x1.e5e9f548e5725p-28};
  constexpr double kToInteger = 0x1.8p52;  // The sum's last bits are x, rounded to an integer.
  const double rounded = x + kToInteger;
  const double fraction = x - (rounded - kToInteger);
  double power = c[9];
#pragma unroll
  for (int i = 8; i >= 0; --i) power = fma(power, fraction, c[i]);
  power = fma(power, fraction, 1.0);
  const uint64_t exponent = static_cast<uint64_t>(__double_as_longlong(rounded)) + kMassBits;
  const uint64_t bits = static_cast<uint64_t>(__double_as_longlong(power)) + (exponent << 52);
  return __longlong_as_double(static_cast<long long>(bits));
}

// exp((logit - max) / temperature) in fixed point.
struct Softmax {
  double max;
  double scale;     // log2(e) / temperature
  double min_mass;  // Of min_p.

  __device__ Softmax(float max, double temperature, float min_p)
      : max(max), scale(kLog2E / temperature), min_mass(min_p * kMassOfOne) {}

  __device__ __forceinline__ Mass MassOf(float logit) const { return FloorToInteger(Of(logit)); }
  // None for what min_p drops.
  __device__ __forceinline__ Mass KeptMassOf(float logit) const {
    const double mass = Of(logit);
    return mass < min_mass ? 0 : FloorToInteger(mass);
  }

 private:
  static constexpr double kLog2E = 1.4426950408889634;

  __device__ __forceinline__ double Of(float logit) const {
    const double x = (static_cast<double>(logit) - max) * scale;
    return ScaledExp2(fmax(x, -kExponentMax));  // 2^-45 is less than the smallest mass.
  }
};

// The mass that reaches `share` of `total`.
__device__ inline Mass ShareOf(float share, Mass total) {
  const double wanted = ceil(static_cast<double>(share) * static_cast<double>(total));
  const Mass mass = static_cast<Mass>(wanted);
  return mass < 1 ? 1 : min(mass, total);
}

// Masses to which threads add in shared memory. They are in two words because the device adds to
// words there at once, but to longer numbers by trying until no other thread comes between.
class MassSums {
 public:
  // Over 2 * count words of shared memory.
  __device__ MassSums(uint32_t* words, int32_t count) : low_(words), high_(words + count) {}

  __device__ Mass at(int i) const { return static_cast<Mass>(high_[i]) << 32 | low_[i]; }
  __device__ void Set(int i, Mass mass) const {
    low_[i] = static_cast<uint32_t>(mass);
    high_[i] = static_cast<uint32_t>(mass >> 32);
  }
  // Beside other threads that add.
  __device__ __forceinline__ void Add(int i, Mass mass) const {
    const uint32_t add = static_cast<uint32_t>(mass);
    const uint32_t sum = atomicAdd(&low_[i], add) + add;
    const uint32_t carried = static_cast<uint32_t>(mass >> 32) + (sum < add ? 1 : 0);
    if (carried != 0) atomicAdd(&high_[i], carried);
  }

 private:
  uint32_t* low_;
  uint32_t* high_;
};

// ---- one warp

__device__ inline int32_t Thread() { return static_cast<int32_t>(threadIdx.x); }
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
// a negative bin add nothing. Where many lanes have the same bin they add together: a crowd is
// looked for as long as *crowded is set, which then says whether there was one.
template <typename AddToBin>
__device__ __forceinline__ void WarpAdd(int bin, Mass mass, bool* crowded, const AddToBin& add) {
  constexpr int kCrowd = 8;
  if (*crowded) {
    const unsigned adding = __ballot_sync(kWholeWarp, bin >= 0 ? 1 : 0);
    if (adding == 0) return;
    const int common = __shfl_sync(kWholeWarp, bin, __ffs(static_cast<int>(adding)) - 1);
    const int crowd = __popc(__ballot_sync(kWholeWarp, bin == common ? 1 : 0));
    *crowded = crowd >= kCrowd;
    if (*crowded) {
      const Mass sum = WarpSum(bin == common ? mass : 0);
      if (LaneOfThread() == 0) add(common, sum, crowd);
      if (bin == common) return;
    }
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
