// What every kernel file includes first: CUDA C++ in two forms.
//
//   nvcc                      the CUDA headers, and the few PTX instructions that kernels use
//   EBB_SIMT, any compiler    the same names over the SIMT emulator (kernels/cuda/simt)
//
// Kernel files are plain C++ but for __global__, __device__, __shared__ and the CUDA built-ins:
// launches go through LaunchKernel, a kernel takes one plain struct by value, and PTX stands here
// alone. So the very same kernels run in tests on hosts without a GPU. They need sm_80 or later.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "device/cuda/cuda_api.h"
#include "device/cuda/cuda_error.h"
#include "device/cuda/stream_internal.h"

#define EBB_RESTRICT __restrict__

#ifdef EBB_SIMT

#include "kernels/cuda/simt/device.h"

#define EBB_LAUNCH_BOUNDS(threads, blocks)
// Declares `uint8_t* name`: the block's dynamic shared memory, aligned to 128.
#define EBB_DYNAMIC_SHARED(name) uint8_t* const name = ::ebb::kernels::cuda::simt::current_shared
// The same, aligned to 1,024. Only one of the two in a file.
#define EBB_DYNAMIC_SHARED_1024(name) EBB_DYNAMIC_SHARED(name)

#else

#include <cuda_runtime.h>

#define EBB_LAUNCH_BOUNDS(threads, blocks) __launch_bounds__(threads, blocks)
#define EBB_DYNAMIC_SHARED(name)                                       \
  extern __shared__ __align__(128) uint8_t ebb_dynamic_shared_bytes[]; \
  uint8_t* const name = ebb_dynamic_shared_bytes
#define EBB_DYNAMIC_SHARED_1024(name)                                   \
  extern __shared__ __align__(1024) uint8_t ebb_dynamic_shared_bytes[]; \
  uint8_t* const name = ebb_dynamic_shared_bytes

#endif  // EBB_SIMT

namespace ebb::kernels::cuda {

// ---- bf16: the upper half of a float32

__device__ __forceinline__ float ToFloat(uint16_t bf16) {
  return __uint_as_float(static_cast<uint32_t>(bf16) << 16);
}
// Of a pair in one word: the first in the low half.
__device__ __forceinline__ float LowToFloat(uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float HighToFloat(uint32_t pair) {
  return __uint_as_float(pair & 0xFFFF0000u);
}

#ifdef EBB_SIMT

// To nearest, ties to even; a NaN becomes 0x7FFF, as on the device.
inline uint16_t ToBf16(float x) {
  const uint32_t bits = __float_as_uint(x);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return 0x7FFF;
  return static_cast<uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

// 2^x.
inline float Exp2(float x) { return exp2f(x); }

// floor(x) for x in [0, 2^52).
inline uint64_t FloorToInteger(double x) { return static_cast<uint64_t>(x); }

inline uint32_t PackBf16(float low, float high) {
  return ToBf16(low) | static_cast<uint32_t>(ToBf16(high)) << 16;
}

// 16 bytes that are read once: they do not push others out of the nearest cache.
inline uint4 LoadOnce16(const void* from) { return *static_cast<const uint4*>(from); }

// Queues the kernel on the stream. The launch's limits are checked at once; what goes wrong in the
// kernel ends the process with a message. REQUIRES: device::EnterStream(stream) was OK.
template <typename Params>
int32_t LaunchKernel(void (*kernel)(Params), dim3 grid, dim3 block, size_t dynamic_shared_bytes,
                     EbbCudaStream* stream, const Params& params) {
  const std::string fault = simt::LaunchFault(grid, block, dynamic_shared_bytes);
  if (!fault.empty()) return device::SetError(EBB_CUDA_INVALID_ARGUMENT, "launch: " + fault);
  return device::FakeEnqueue(stream, [=] {
    simt::RunGrid(grid, block, dynamic_shared_bytes, [&] {
      kernel(params);
      simt::CheckAwaited();
    });
  });
}

// ---- the kernels queued before and after

// A kernel starts while the one queued before it still ends, where the device can do that
// (programmatic dependent launch), and until it has called AwaitEarlierWork it may read only what
// nothing that is queued writes, and write nothing. Every thread of every kernel calls it: then
// what a kernel waits for has waited for all before it. The emulator checks that.
inline void AwaitEarlierWork() { simt::NoteAwaited(); }

// Lets the kernel queued behind start as soon as all blocks have begun.
inline void LetLaterWorkStart() {}

// Begins to bring memory into the L2 cache. REQUIRES: address and bytes are multiples of 16.
inline void FetchToL2(const void* from, uint32_t bytes) { simt::TouchMemory(from, bytes); }

#else

__device__ __forceinline__ uint32_t PackBf16(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

__device__ __forceinline__ uint16_t ToBf16(float x) {
  uint16_t bf16;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bf16) : "f"(x));
  return bf16;
}

// 2^x to 2 units in the last place; what is below 2^-126 becomes 0. Exact for 0 and -infinity.
__device__ __forceinline__ float Exp2(float x) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
}

// floor(x) for x in [0, 2^52): the last bits of a sum whose unit in the last place is 1, which is
// faster than a conversion.
__device__ __forceinline__ uint64_t FloorToInteger(double x) {
  constexpr uint64_t kFraction = (uint64_t{1} << 52) - 1;
  return static_cast<uint64_t>(__double_as_longlong(__dadd_rd(x, 0x1p52))) & kFraction;
}

__device__ __forceinline__ uint32_t SharedAddress(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// 16 bytes that are read once: they do not push others out of the nearest cache.
__device__ __forceinline__ uint4 LoadOnce16(const void* from) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(__cvta_generic_to_global(from)));
  return v;
}

// ---- tensor cores

// ldmatrix.x4: lanes 8i .. 8i + 7 give the addresses of the eight rows (8 bf16 each, 16-byte
// aligned, in shared memory) of matrix i; r[i] becomes elements (lane / 4, 2 * (lane % 4)) and the
// next in its row.
__device__ __forceinline__ void LoadMatrix4(uint32_t (&r)[4], const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(SharedAddress(shared_row))
               : "memory");
}

// The same of the transposed matrices.
__device__ __forceinline__ void LoadMatrix4Transposed(uint32_t (&r)[4], const void* shared_row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(SharedAddress(shared_row))
               : "memory");
}

// d [16, 8] += a [16, 16] b [16, 8], by a whole warp; a row-major, b column-major bf16, d float32.
// With g = lane / 4 and t = lane % 4 a lane holds
//   a: (g, 2t..), (g + 8, 2t..), (g, 2t + 8..), (g + 8, 2t + 8..)   row, column and the next column
//   b: (2t.., g), (2t + 8.., g)                                     row and the next row, column
//   d: (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1)
__device__ __forceinline__ void MmaBf16(float (&d)[4], const uint32_t (&a)[4],
                                        const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// ---- asynchronous copies from global to shared memory

// 16 bytes, both sides 16-byte aligned; zeros when not valid (`global` is then not read).
__device__ __forceinline__ void CopyAsync16(void* shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(SharedAddress(shared)),
               "l"(__cvta_generic_to_global(global)), "r"(valid ? 16 : 0)
               : "memory");
}

// Closes this thread's group of copies.
__device__ __forceinline__ void CopyAsyncCommit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits for all but the newest `pending` groups of this thread.
template <int pending>
__device__ __forceinline__ void CopyAsyncWait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// ---- the kernels queued before and after; see the emulator's form

__device__ __forceinline__ void AwaitEarlierWork() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

__device__ __forceinline__ void LetLaterWorkStart() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

__device__ __forceinline__ void FetchToL2(const void* from, uint32_t bytes) {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(__cvta_generic_to_global(from)),
               "r"(bytes)
               : "memory");
#endif
}

// ---- launches

// Queues the kernel on the stream. REQUIRES: device::EnterStream(stream) was OK on this thread.
template <typename Params>
int32_t LaunchKernel(void (*kernel)(Params), dim3 grid, dim3 block, size_t dynamic_shared_bytes,
                     EbbCudaStream* stream, const Params& params) {
  constexpr size_t kGivenWithoutAsking = 48 << 10;
  const void* function = reinterpret_cast<const void*>(kernel);
  if (dynamic_shared_bytes > kGivenWithoutAsking) {
    const int32_t code =
        device::FromCuda(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                              static_cast<int>(dynamic_shared_bytes)),
                         "cudaFuncSetAttribute");
    if (code != EBB_CUDA_OK) return code;
  }
  Params copy = params;
  void* arguments[] = {&copy};
  cudaLaunchAttribute early = {};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = dynamic_shared_bytes;
  config.stream = device::NativeStream(stream);
  config.attrs = &early;
  config.numAttrs = device::UsesHopper(stream) ? 1 : 0;
  return device::FromCuda(cudaLaunchKernelExC(&config, function, arguments), "cudaLaunchKernelExC");
}

#endif  // EBB_SIMT

}  // namespace ebb::kernels::cuda
