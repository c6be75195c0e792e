// CUDA C++ for the host compiler: the qualifiers, vector types and built-in functions that the
// kernels use, over the emulator's machine. Included by kernels/cuda/prelude.cuh alone, instead of
// the CUDA headers. What is not here, kernels do not use.
//
// Semantics are those of the CUDA C++ programming guide; the fragment layouts of ldmatrix and mma
// are those of the PTX ISA, sections "ldmatrix" and "mma.m16n8k16".
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/cuda/simt/machine.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
// One block runs at a time. Not poisoned, unlike dynamic shared memory.
#define __shared__ static

#define threadIdx (::ebb::kernels::cuda::simt::current_place->thread)
#define blockIdx (::ebb::kernels::cuda::simt::current_place->block)
#define blockDim (::ebb::kernels::cuda::simt::current_block_dim)
#define gridDim (::ebb::kernels::cuda::simt::current_grid_dim)

// Where the built-in function is called.
#define EBB_SIMT_SITE ::ebb::kernels::cuda::simt::Site site = {__builtin_FILE(), __builtin_LINE()}

namespace ebb::kernels::cuda {

using dim3 = simt::Dim3;

// Kernels read and write arrays of other types through these.
#define EBB_SIMT_VECTOR(bytes) __attribute__((__may_alias__, __aligned__(bytes)))
struct EBB_SIMT_VECTOR(8) uint2 {
  unsigned x, y;
};
struct EBB_SIMT_VECTOR(16) uint4 {
  unsigned x, y, z, w;
};
struct EBB_SIMT_VECTOR(8) int2 {
  int x, y;
};
struct EBB_SIMT_VECTOR(16) int4 {
  int x, y, z, w;
};
struct EBB_SIMT_VECTOR(8) float2 {
  float x, y;
};
struct EBB_SIMT_VECTOR(16) float4 {
  float x, y, z, w;
};
#undef EBB_SIMT_VECTOR
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

// ---- arithmetic

using std::exp;
using std::fma;
using std::log;
using std::sqrt;
template <typename T>
inline T min(T a, std::type_identity_t<T> b) {
  return b < a ? b : a;
}
template <typename T>
inline T max(T a, std::type_identity_t<T> b) {
  return a < b ? b : a;
}
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __expf(float x) { return expf(x); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fdividef(float a, float b) { return a / b; }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
template <typename T>
inline T __ldg(const T* p) {
  return *p;
}

// ---- atomics. Each gives the value before. They order no other accesses.

template <typename T>
inline T atomicAdd(T* p, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*p).fetch_add(value, std::memory_order_relaxed);
}
template <typename T>
inline T atomicOr(T* p, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*p).fetch_or(value, std::memory_order_relaxed);
}
template <typename T>
inline T atomicExch(T* p, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*p).exchange(value, std::memory_order_relaxed);
}
template <typename T>
inline T atomicCAS(T* p, std::type_identity_t<T> compare, std::type_identity_t<T> value) {
  std::atomic_ref<T>(*p).compare_exchange_strong(compare, value, std::memory_order_relaxed);
  return compare;
}
// One thread runs at a time: nothing comes between the two.
template <typename T>
inline T atomicMax(T* p, std::type_identity_t<T> value) {
  const T old = std::atomic_ref<T>(*p).load(std::memory_order_relaxed);
  if (old < value) std::atomic_ref<T>(*p).store(value, std::memory_order_relaxed);
  return old;
}
template <typename T>
inline T atomicMin(T* p, std::type_identity_t<T> value) {
  const T old = std::atomic_ref<T>(*p).load(std::memory_order_relaxed);
  if (value < old) std::atomic_ref<T>(*p).store(value, std::memory_order_relaxed);
  return old;
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// ---- barriers and exchanges

inline void __syncthreads(EBB_SIMT_SITE) { simt::Barrier(site); }

inline void __syncwarp(unsigned mask = 0xFFFFFFFFu, EBB_SIMT_SITE) {
  simt::Rendezvous(
      mask, simt::Meeting::kOrdered, [](void* const*) {}, nullptr, "__syncwarp", site);
}

namespace simt {

template <typename T>
struct ShuffleArgs {
  T value;
  int source;  // The lane whose value is wanted.
};

// The value of a lane that takes no part is undefined: NaN bytes here.
template <typename T>
EBB_SIMT_EXCHANGE void ExchangeShuffle(void* const* args) {
  T values[kWarpLanes];
  std::memset(values, 0xFF, sizeof(values));
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    if (args[lane] != nullptr) values[lane] = static_cast<ShuffleArgs<T>*>(args[lane])->value;
  }
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    if (args[lane] == nullptr) continue;
    auto* mine = static_cast<ShuffleArgs<T>*>(args[lane]);
    mine->value = values[mine->source];
  }
}

template <typename T>
T ShuffleFrom(unsigned mask, T value, int source, const char* what, Site site) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  ShuffleArgs<T> args = {value, source};
  Rendezvous(mask, Meeting::kLanes, ExchangeShuffle<T>, &args, what, site);
  return args.value;
}

// Bits of the lanes that gave non-zero.
void ExchangeBallot(void* const* args);
void ExchangeLoadMatrix4(void* const* args);
void ExchangeLoadMatrix4Transposed(void* const* args);
void ExchangeMmaBf16(void* const* args);

struct LoadMatrixArgs {
  uint32_t* registers;  // [4]
  uint16_t row[8];      // What lies at the address that the lane gave.
};

struct MmaArgs {
  float* d;           // [4]
  const uint32_t* a;  // [4]
  const uint32_t* b;  // [2]
};

// REQUIRES: `row` is aligned to 16.
void LoadMatrix(uint32_t* registers, const void* row, bool transposed, Site site);

inline int Lane() { return current_place->lane; }

}  // namespace simt

template <typename T>
inline T __shfl_sync(unsigned mask, T value, int source, int width = 32, EBB_SIMT_SITE) {
  const int first = simt::Lane() & ~(width - 1);
  return simt::ShuffleFrom(mask, value, first + (source & (width - 1)), "__shfl_sync", site);
}

template <typename T>
inline T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, EBB_SIMT_SITE) {
  const int lane = simt::Lane();
  const int source = (lane ^ lane_mask) & 31;
  const bool above = (source & ~(width - 1)) > (lane & ~(width - 1));
  return simt::ShuffleFrom(mask, value, above ? lane : source, "__shfl_xor_sync", site);
}

template <typename T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, EBB_SIMT_SITE) {
  const int lane = simt::Lane();
  const int end = (lane & ~(width - 1)) + width;
  const int source = lane + static_cast<int>(delta);
  return simt::ShuffleFrom(mask, value, source < end ? source : lane, "__shfl_down_sync", site);
}

template <typename T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, EBB_SIMT_SITE) {
  const int lane = simt::Lane();
  const int first = lane & ~(width - 1);
  const int source = lane - static_cast<int>(delta);
  return simt::ShuffleFrom(mask, value, source >= first ? source : lane, "__shfl_up_sync", site);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, EBB_SIMT_SITE) {
  unsigned bits = predicate != 0;
  simt::Rendezvous(mask, simt::Meeting::kLanes, simt::ExchangeBallot, &bits, "__ballot_sync", site);
  return bits;
}

inline int __any_sync(unsigned mask, int predicate, EBB_SIMT_SITE) {
  unsigned bits = predicate != 0;
  simt::Rendezvous(mask, simt::Meeting::kLanes, simt::ExchangeBallot, &bits, "__any_sync", site);
  return bits != 0;
}

inline int __all_sync(unsigned mask, int predicate, EBB_SIMT_SITE) {
  unsigned bits = predicate == 0;
  simt::Rendezvous(mask, simt::Meeting::kLanes, simt::ExchangeBallot, &bits, "__all_sync", site);
  return bits == 0;
}

// ---- what the prelude wraps

inline void LoadMatrix4(uint32_t (&r)[4], const void* shared_row, EBB_SIMT_SITE) {
  simt::LoadMatrix(r, shared_row, false, site);
}

inline void LoadMatrix4Transposed(uint32_t (&r)[4], const void* shared_row, EBB_SIMT_SITE) {
  simt::LoadMatrix(r, shared_row, true, site);
}

inline void MmaBf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], EBB_SIMT_SITE) {
  simt::MmaArgs args = {d, a, b};
  simt::Rendezvous(~0u, simt::Meeting::kWarp, simt::ExchangeMmaBf16, &args, "MmaBf16", site);
}

inline void CopyAsync16(void* shared, const void* global, bool valid, EBB_SIMT_SITE) {
  simt::QueueCopy(shared, global, valid, site);
}

inline void CopyAsyncCommit() { simt::CommitCopies(); }

template <int pending>
inline void CopyAsyncWait() {
  simt::WaitCopies(pending);
}

}  // namespace ebb::kernels::cuda
