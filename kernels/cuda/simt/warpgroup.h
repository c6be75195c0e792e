// What kernels/cuda/warpgroup.cuh wraps, over the emulator. Included there alone.
#pragma once

#include <cstdint>

#include "kernels/cuda/simt/async_proxy.h"
#include "kernels/cuda/simt/device.h"
#include "kernels/cuda/simt/machine.h"

namespace ebb::kernels::cuda {

inline constexpr bool kHaveWarpgroupMma = true;

namespace simt {

// By all 32 lanes of a warp together.
void FenceProxy(Site site);
void ArriveWarpgroup(Site site);
void QueueProduct(const MatrixProduct& product, Site site);
void CommitProducts(Site site);
void WaitProducts(int pending, Site site);

}  // namespace simt

inline uint32_t SharedAddress(const void* p) {
  return static_cast<uint32_t>(static_cast<const uint8_t*>(p) - simt::current_shared);
}

inline void FenceAsyncProxy(EBB_SIMT_SITE) { simt::FenceProxy(site); }
inline void WarpgroupArrive(EBB_SIMT_SITE) { simt::ArriveWarpgroup(site); }
inline void WarpgroupCommit(EBB_SIMT_SITE) { simt::CommitProducts(site); }
template <int pending>
inline void WarpgroupWait(EBB_SIMT_SITE) {
  simt::WaitProducts(pending, site);
}

// The emulator's compiler keeps nothing in registers across its calls.
template <typename T, int n>
inline void KeepRegisters(T (&)[n][4]) {}

template <bool accumulate>
inline void WarpgroupMma(float (&d)[16][4], const uint32_t (&a)[4], uint64_t b, EBB_SIMT_SITE) {
  simt::QueueProduct({d, a, b, 128, accumulate, /*rows=*/false}, site);
}
template <int n>
inline void WarpgroupMmaRows(float (&d)[n][4], const uint32_t (&a)[4], uint64_t b, EBB_SIMT_SITE) {
  simt::QueueProduct({d, a, b, n * 8, /*accumulate=*/true, /*rows=*/true}, site);
}

}  // namespace ebb::kernels::cuda
