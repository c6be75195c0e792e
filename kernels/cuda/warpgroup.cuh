// Matrix products of a warpgroup (wgmma: sm_90a alone), beside the prelude: the device's PTX, or
// the same names over the SIMT emulator (kernels/cuda/simt/warpgroup.h).
//
// A warpgroup is four consecutive warps, the first a multiple of four. It multiplies by
//
//   KeepRegisters(d), KeepRegisters(a)   what the program wrote to them is there
//   WarpgroupArrive()                    before the first product of a group, and whenever d or a
//                                        were touched by anything but these products
//   WarpgroupMma...(d, a, b)             queued; until the wait d, a and the shared memory of b
//   WarpgroupCommit()                    belong to the products
//   WarpgroupWait<n>()                   all but the newest n groups are done
//   KeepRegisters(d)                     the program reads d only after the wait
//
// Products of one accumulator are done in their order. They read shared memory by the async proxy:
// a thread that wrote it by stores or by CopyAsync16 calls FenceAsyncProxy(), after the wait for
// the copies, before the barrier that lets others multiply by it.
#pragma once

#include <cstdint>

#include "kernels/cuda/prelude.cuh"

#ifdef EBB_SIMT
#include "kernels/cuda/simt/warpgroup.h"
#endif

namespace ebb::kernels::cuda {

inline constexpr int kWarpgroupThreads = 128;
inline constexpr int kWarpgroupRows = 64;  // The M of wgmma: 16 rows for each warp.

// How an operand lies in shared memory: rows of 128 bytes, eight of them (1,024 bytes, aligned so)
// a swizzle atom, in which chunk c of 16 bytes of row r lies at chunk c ^ r.
inline constexpr int kSwizzleRowBytes = 128;
inline constexpr int kSwizzleAtomBytes = 1024;

// Of chunk `chunk` (below 8) of row `row`, from an aligned start.
__device__ __forceinline__ constexpr int SwizzledOffset(int row, int chunk) {
  return row * kSwizzleRowBytes + ((chunk ^ (row & 7)) << 4);
}

// The matrix descriptor (PTX ISA, "Matrix-descriptor") of a swizzled operand at `shared`. What its
// offsets mean depends on the product: see there.
__device__ __forceinline__ uint64_t SwizzledMatrix(const void* shared, int leading_bytes,
                                                   int stride_bytes) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  const uint64_t start = (SharedAddress(shared) & 0x3FFFF) >> 4;
  return kSwizzle128 | static_cast<uint64_t>(stride_bytes >> 4) << 32 |
         static_cast<uint64_t>(leading_bytes >> 4) << 16 | start;
}

#ifndef EBB_SIMT

// Whether this pass of the compiler knows the instructions. A kernel for sm_90a is empty elsewhere.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
inline constexpr bool kHaveWarpgroupMma = true;
#else
inline constexpr bool kHaveWarpgroupMma = false;
#endif

__device__ __forceinline__ void FenceAsyncProxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
__device__ __forceinline__ void WarpgroupArrive() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void WarpgroupCommit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int pending>
__device__ __forceinline__ void WarpgroupWait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

template <int n>
__device__ __forceinline__ void KeepRegisters(float (&r)[n][4]) {
#pragma unroll
  for (int i = 0; i < n; ++i) {
    asm volatile("" : "+f"(r[i][0]), "+f"(r[i][1]), "+f"(r[i][2]), "+f"(r[i][3])::"memory");
  }
}
template <int n>
__device__ __forceinline__ void KeepRegisters(uint32_t (&r)[n][4]) {
#pragma unroll
  for (int i = 0; i < n; ++i) {
    asm volatile("" : "+r"(r[i][0]), "+r"(r[i][1]), "+r"(r[i][2]), "+r"(r[i][3])::"memory");
  }
}

#define EBB_D4(kind, d, n) kind(d[n][0]), kind(d[n][1]), kind(d[n][2]), kind(d[n][3])
#define EBB_D32(kind, d, n)                                                                   \
  EBB_D4(kind, d, n), EBB_D4(kind, d, n + 1), EBB_D4(kind, d, n + 2), EBB_D4(kind, d, n + 3), \
      EBB_D4(kind, d, n + 4), EBB_D4(kind, d, n + 5), EBB_D4(kind, d, n + 6),                 \
      EBB_D4(kind, d, n + 7)
#define EBB_D32_NAMES                                                                          \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, " \
  "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define EBB_D64_NAMES                                                                            \
  EBB_D32_NAMES                                                                                  \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, " \
  "%50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"

// Of 128 columns. `kind`: how d is bound; `adds`: "1" to add to it; `rows`: "1" if b is MN-major.
#define EBB_MMA_128(kind, adds, rows)                                                          \
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" EBB_D64_NAMES         \
               "}, {%64, %65, %66, %67}, %68, " adds ", 1, 1, " rows ";"                       \
               : EBB_D32(kind, d, 0), EBB_D32(kind, d, 8)                                      \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))

// The fragments of the next three are those of MmaBf16 for each of the warpgroup's warps and its 16
// rows; d[n] holds columns 8n .. 8n + 7.

// d [64, 128] = a [64, 16] b, or += with `accumulate`. b has a row of 16 for each of the 128
// columns (K-major), 32 bytes of a row of an atom. Descriptor: stride_bytes from eight columns to
// the next eight, leading_bytes 16, of no meaning.
template <bool accumulate>
__device__ __forceinline__ void WarpgroupMma(float (&d)[16][4], const uint32_t (&a)[4],
                                             uint64_t b) {
  if constexpr (accumulate) {
    EBB_MMA_128("+f", "1", "0");
  } else {
    EBB_MMA_128("=f", "0", "0");
  }
}

// d [64, columns] += a [64, 16] b. b has 16 rows of `columns` (MN-major), 64 columns to a row of an
// atom. Descriptor: leading_bytes from 64 columns to the next 64, stride_bytes from eight rows to
// the next eight.
__device__ __forceinline__ void WarpgroupMmaRows(float (&d)[16][4], const uint32_t (&a)[4],
                                                 uint64_t b) {
  EBB_MMA_128("+f", "1", "1");
}
__device__ __forceinline__ void WarpgroupMmaRows(float (&d)[8][4], const uint32_t (&a)[4],
                                                 uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" EBB_D32_NAMES
               "}, {%32, %33, %34, %35}, %36, 1, 1, 1, 1;"
               : EBB_D32("+f", d, 0)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

#undef EBB_D4
#undef EBB_D32
#undef EBB_D32_NAMES
#undef EBB_D64_NAMES
#undef EBB_MMA_128

#endif  // EBB_SIMT

}  // namespace ebb::kernels::cuda
