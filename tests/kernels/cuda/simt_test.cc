// The SIMT emulator: barriers, exchanges, matrix instructions against the PTX ISA's tables, and
// that planted bugs are found.
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <thread>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "kernels/cuda/prelude.cuh"
#include "tests/kernels/cuda/test_seed.h"

namespace ebb::kernels::cuda {
namespace {

constexpr unsigned kAll = 0xFFFFFFFFu;

// ---- barriers

struct ReverseParams {
  int* out;  // [gridDim.x, blockDim.x]
  bool barrier;
};

// out[b, t] = what thread n - 1 - t wrote.
__global__ void Reverse(ReverseParams p) {
  EBB_DYNAMIC_SHARED(shared);
  int* values = reinterpret_cast<int*>(shared);
  const int n = static_cast<int>(blockDim.x);
  const int t = static_cast<int>(threadIdx.x);
  values[t] = t * 3 + static_cast<int>(blockIdx.x);
  if (p.barrier) __syncthreads();
  p.out[static_cast<int>(blockIdx.x) * n + t] = values[n - 1 - t];
}

bool ReverseIsRight(bool barrier) {
  constexpr int kBlocks = 3;
  constexpr int kThreads = 96;
  std::vector<int> out(kBlocks * kThreads);
  simt::Run(Reverse, dim3(kBlocks), dim3(kThreads), kThreads * sizeof(int),
            ReverseParams{out.data(), barrier});
  bool right = true;
  for (int b = 0; b < kBlocks; ++b) {
    for (int t = 0; t < kThreads; ++t) {
      right = right && out[b * kThreads + t] == (kThreads - 1 - t) * 3 + b;
    }
  }
  return right;
}

TEST(SimtTest, BarrierOrdersTheBlock) {
  simt::SetSeed(TestSeed(1));
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(ReverseIsRight(true));
}

TEST(SimtTest, AMissingBarrierIsSeenEachTime) {
  simt::SetSeed(TestSeed(1));
  // Shared memory starts as NaN bytes, so the first of two threads always reads a wrong value.
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(ReverseIsRight(false));
}

// Round after round through one buffer. The second barrier keeps a warp from overwriting what
// others have not yet read.
struct RoundsParams {
  int* wrong;
  bool second_barrier;
};

__global__ void Rounds(RoundsParams p) {
  EBB_DYNAMIC_SHARED(shared);
  int* values = reinterpret_cast<int*>(shared);
  const int t = static_cast<int>(threadIdx.x);
  for (int round = 0; round < 4; ++round) {
    values[t] = round;
    __syncthreads();
    if (values[(t + 32) % static_cast<int>(blockDim.x)] != round) atomicAdd(p.wrong, 1);
    if (p.second_barrier) __syncthreads();
  }
}

TEST(SimtTest, AMissingSecondBarrierIsSeen) {
  simt::SetSeed(TestSeed(2));
  int wrong = 0;
  for (int i = 0; i < 10; ++i) {
    simt::Run(Rounds, dim3(2), dim3(128), 512, RoundsParams{&wrong, true});
  }
  EXPECT_EQ(wrong, 0);
  for (int i = 0; i < 10; ++i) {
    simt::Run(Rounds, dim3(2), dim3(128), 512, RoundsParams{&wrong, false});
  }
  EXPECT_GT(wrong, 0);
}

struct EarlyParams {
  int* out;
};

// Threads that return early count as arrived.
__global__ void EarlyReturn(EarlyParams p) {
  if (threadIdx.x % 3 == 0) return;
  p.out[threadIdx.x] += 1;
  __syncthreads();
  __syncwarp();
  p.out[threadIdx.x] += 1;
}

TEST(SimtTest, ThreadsThatReturnedAreNotWaitedFor) {
  std::vector<int> out(80);
  simt::Run(EarlyReturn, dim3(1), dim3(80), 0, EarlyParams{out.data()});
  for (int t = 0; t < 80; ++t) EXPECT_EQ(out[t], t % 3 == 0 ? 0 : 2) << t;
}

struct IndexParams {
  int* count;  // [6 blocks, 24 threads]
};

__global__ void CountIndex(IndexParams p) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  atomicAdd(&p.count[block * 24 + thread], 1);
}

TEST(SimtTest, EveryThreadRunsOnce) {
  std::vector<int> count(6 * 24);
  simt::Run(CountIndex, dim3(1, 2, 3), dim3(2, 3, 4), 0, IndexParams{count.data()});
  for (const int c : count) EXPECT_EQ(c, 1);
}

// ---- exchanges

struct ExchangeParams {
  int* out;  // [7, 32]
};

__global__ void Exchanges(ExchangeParams p) {
  const int lane = static_cast<int>(threadIdx.x);
  p.out[lane] = __shfl_xor_sync(kAll, lane * 10, 5);
  p.out[32 + lane] = __shfl_sync(kAll, lane * 10, 7);
  p.out[64 + lane] = __shfl_down_sync(kAll, lane * 10, 3, 8);
  p.out[96 + lane] = static_cast<int>(__ballot_sync(kAll, lane % 5 == 0));
  p.out[128 + lane] = __any_sync(kAll, lane == 30);
  // Halves on their own, and 64-bit values.
  const uint64_t wide = (uint64_t{1} << 40) + static_cast<uint64_t>(lane);
  if (lane < 16) {
    p.out[160 + lane] = static_cast<int>(__shfl_xor_sync(0x0000FFFFu, wide, 1) >> 8 & 0xFFFF);
  } else {
    p.out[160 + lane] = static_cast<int>(__shfl_xor_sync(0xFFFF0000u, wide, 1) & 0xFF);
  }
  p.out[192 + lane] = static_cast<int>(__shfl_up_sync(kAll, lane * 1.5, 1) * 2);
}

TEST(SimtTest, ExchangesFollowTheProgrammingGuide) {
  std::vector<int> out(7 * 32, -1);
  simt::Run(Exchanges, dim3(1), dim3(32), 0, ExchangeParams{out.data()});
  for (int lane = 0; lane < 32; ++lane) {
    EXPECT_EQ(out[lane], (lane ^ 5) * 10);
    EXPECT_EQ(out[32 + lane], 70);
    EXPECT_EQ(out[64 + lane], (lane % 8 < 5 ? lane + 3 : lane) * 10);
    EXPECT_EQ(static_cast<unsigned>(out[96 + lane]), 0x42108421u);
    EXPECT_EQ(out[128 + lane], 1);
    EXPECT_EQ(out[160 + lane], lane < 16 ? 0 : lane ^ 1);
    EXPECT_EQ(out[192 + lane], lane == 0 ? 0 : (lane - 1) * 3);
  }
}

// ---- matrix instructions

struct MatmulParams {
  const uint16_t* a;    // [16, 16]
  const uint16_t* b;    // [16, 8], row-major
  const uint16_t* b_t;  // [8, 16]: b transposed
  float* d;             // [16, 8], by plain loads after the PTX tables
  float* d_loaded;      // The same through LoadMatrix4
  float* d_transposed;  // b through LoadMatrix4Transposed
};

__device__ void StoreFragment(float* out, const float (&d)[4], int lane) {
  for (int i = 0; i < 4; ++i) {
    const int row = i < 2 ? lane / 4 : lane / 4 + 8;
    const int column = lane % 4 * 2 + (i & 1);
    out[row * 8 + column] = d[i];
  }
}

// PTX ISA, "Matrix fragments for mma.m16n8k16": groupID = lane / 4, threadID_in_group = lane % 4.
__global__ void Matmul(MatmulParams p) {
  EBB_DYNAMIC_SHARED(shared);
  uint16_t* a = reinterpret_cast<uint16_t*>(shared);
  uint16_t* b = a + 256;
  uint16_t* b_t = b + 128;
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 256; i += 32) a[i] = p.a[i];
  for (int i = lane; i < 128; i += 32) b[i] = p.b[i], b_t[i] = p.b_t[i];
  __syncwarp();
  const int group = lane >> 2;
  const int member = lane % 4;
  uint32_t fragment_a[4] = {0, 0, 0, 0};
  for (int i = 0; i < 8; ++i) {
    const int row = (i < 2 || (i >= 4 && i < 6)) ? group : group + 8;
    const int column = i < 4 ? member * 2 + (i & 1) : member * 2 + (i & 1) + 8;
    fragment_a[i / 2] |= static_cast<uint32_t>(a[row * 16 + column]) << (i % 2 * 16);
  }
  uint32_t fragment_b[2] = {0, 0};
  for (int i = 0; i < 4; ++i) {
    const int row = i < 2 ? member * 2 + (i & 1) : member * 2 + (i & 1) + 8;
    fragment_b[i / 2] |= static_cast<uint32_t>(b[row * 8 + group]) << (i % 2 * 16);
  }
  float d[4] = {1, 1, 1, 1};
  MmaBf16(d, fragment_a, fragment_b);
  StoreFragment(p.d, d, lane);

  uint32_t loaded_a[4];
  LoadMatrix4(loaded_a, a + (lane % 16) * 16 + lane / 16 * 8);
  uint32_t loaded_b[4];  // Lanes 16 .. 31 give the same rows again; those matrices are not used.
  LoadMatrix4(loaded_b, b_t + (lane % 8) * 16 + lane / 8 % 2 * 8);
  float d_loaded[4] = {1, 1, 1, 1};
  MmaBf16(d_loaded, loaded_a, {loaded_b[0], loaded_b[1]});
  StoreFragment(p.d_loaded, d_loaded, lane);

  LoadMatrix4Transposed(loaded_b, b + (lane % 16) * 8);
  float d_transposed[4] = {1, 1, 1, 1};
  MmaBf16(d_transposed, loaded_a, {loaded_b[0], loaded_b[1]});
  StoreFragment(p.d_transposed, d_transposed, lane);
}

TEST(SimtTest, MatrixInstructionsMultiply) {
  base::Rng rng(TestSeed(3));
  std::vector<uint16_t> a(256), b(128), b_t(128);
  // Small integers: every sum is exact in float32, in any order.
  for (uint16_t& x : a) x = ToBf16(static_cast<float>(rng.Between(-9, 9)));
  for (int k = 0; k < 16; ++k) {
    for (int n = 0; n < 8; ++n) {
      b_t[n * 16 + k] = b[k * 8 + n] = ToBf16(static_cast<float>(rng.Between(-9, 9)));
    }
  }
  std::vector<float> d(128, NAN), d_loaded(128, NAN), d_transposed(128, NAN);
  simt::Run(
      Matmul, dim3(1), dim3(32), 1024,
      MatmulParams{a.data(), b.data(), b_t.data(), d.data(), d_loaded.data(), d_transposed.data()});
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      float sum = 1;
      for (int k = 0; k < 16; ++k) sum += ToFloat(a[row * 16 + k]) * ToFloat(b[k * 8 + column]);
      EXPECT_EQ(d[row * 8 + column], sum) << row << "," << column;
      EXPECT_EQ(d_loaded[row * 8 + column], sum) << row << "," << column;
      EXPECT_EQ(d_transposed[row * 8 + column], sum) << row << "," << column;
    }
  }
}

// ---- asynchronous copies

struct CopyParams {
  const float* in;  // [2, 32, 4]
  float* out;       // [2, 32, 4]
  bool wait;
};

__global__ void CopyThrough(CopyParams p) {
  EBB_DYNAMIC_SHARED(shared);
  const int lane = static_cast<int>(threadIdx.x);
  float4* mine = reinterpret_cast<float4*>(shared) + lane;
  CopyAsync16(mine, p.in + lane * 4, true);
  CopyAsyncCommit();
  CopyAsync16(mine + 32, p.in + 128 + lane * 4, lane % 2 == 0);
  CopyAsyncCommit();
  if (p.wait) CopyAsyncWait<1>();
  reinterpret_cast<float4*>(p.out)[lane] = mine[0];
  CopyAsyncWait<0>();
  reinterpret_cast<float4*>(p.out)[32 + lane] = mine[32];
}

TEST(SimtTest, CopiesAreThereAfterTheirWaitAndNotBefore) {
  std::vector<float4> in(64), out(64);
  for (int i = 0; i < 256; ++i) (&in[0].x)[i] = static_cast<float>(i);
  CopyParams params = {&in[0].x, &out[0].x, true};
  simt::Run(CopyThrough, dim3(1), dim3(32), 1024, params);
  for (int i = 0; i < 256; ++i) {
    const bool valid = i < 128 || i / 4 % 2 == 0;
    EXPECT_EQ((&out[0].x)[i], valid ? static_cast<float>(i) : 0.0f) << i;
  }
  params.wait = false;
  simt::Run(CopyThrough, dim3(1), dim3(32), 1024, params);
  for (int i = 0; i < 128; ++i) EXPECT_TRUE(std::isnan((&out[0].x)[i])) << i;
}

// ---- races, as ThreadSanitizer sees them

struct RaceParams {
  int* out;
  int kind;
};

// Kinds 0, 1 and 2 are right; each of the others lacks an order that the hardware does not give.
__global__ void Races(RaceParams p) {
  EBB_DYNAMIC_SHARED(shared);
  int* values = reinterpret_cast<int*>(shared);
  const int t = static_cast<int>(threadIdx.x);
  const int lane = t % 32;
  const int n = static_cast<int>(blockDim.x);
  if (p.kind == 0 || p.kind == 3) {  // Across the block.
    values[t] = t;
    if (p.kind == 0) __syncthreads();
    p.out[t] = values[(t + 40) % n];
  } else if (p.kind == 1 || p.kind == 4) {  // Across a warp; a shuffle orders no memory.
    values[t] = t;
    if (p.kind == 1) __syncwarp();
    if (p.kind == 4) __shfl_xor_sync(kAll, t, 1);
    p.out[t] = values[t - lane + (lane + 1) % 32];
  } else if (p.kind == 2) {  // Atomics need no order.
    atomicAdd(p.out, t);
    atomicMax(p.out + 1, t);
  } else if (p.kind == 5) {  // A buffer is filled again while others may still read it.
    float4* mine = reinterpret_cast<float4*>(shared);
    CopyAsync16(mine + t, p.out + n + t * 4, true);
    CopyAsyncCommit();
    CopyAsyncWait<0>();
    __syncthreads();
    p.out[t] = static_cast<int>(mine[(t + 40) % n].x);
    CopyAsync16(mine + t, p.out + n + t * 4, true);
    CopyAsyncCommit();
    CopyAsyncWait<0>();
  } else if (p.kind == 6) {  // Rows of a matrix that other warps wrote.
    uint4* rows = reinterpret_cast<uint4*>(shared);
    rows[t] = make_uint4(0, 0, 0, 0);
    uint32_t r[4];
    LoadMatrix4(r, rows + (t + 32) % n);
    p.out[t] = static_cast<int>(r[0]);
  }
}

#if defined(__SANITIZE_THREAD__)
TEST(SimtDeathTest, RacesAreSeen) {
  const auto run = [](int kind) {
    simt::CheckRaces();
    std::vector<uint4> out(192);
    simt::Run(Races, dim3(1), dim3(64), 1024, RaceParams{reinterpret_cast<int*>(out.data()), kind});
    std::fprintf(stderr, "no race\n");
    std::_Exit(0);  // 66 when there was one.
  };
  for (const int kind : {0, 1, 2}) {
    EXPECT_EXIT(run(kind), testing::ExitedWithCode(0), "no race") << kind;
  }
  for (const int kind : {3, 4, 5, 6}) EXPECT_DEATH(run(kind), "data race") << kind;
}
#else
TEST(SimtTest, TheRightOnesOfTheRacesAreRight) {
  std::vector<uint4> out(192);
  int* values = reinterpret_cast<int*>(out.data());
  for (const int kind : {0, 1}) {
    simt::Run(Races, dim3(1), dim3(64), 1024, RaceParams{values, kind});
    for (int t = 0; t < 64; ++t) {
      EXPECT_EQ(values[t], kind == 0 ? (t + 40) % 64 : t / 32 * 32 + (t + 1) % 32);
    }
  }
  std::fill(out.begin(), out.end(), uint4{});
  simt::Run(Races, dim3(1), dim3(64), 1024, RaceParams{values, 2});
  EXPECT_EQ(values[0], 63 * 64 / 2);
  EXPECT_EQ(values[1], 63);
}
#endif

// ---- what ends the process

struct NoParams {};

__global__ void HalfWaits(NoParams) {
  if (threadIdx.x < 16) {
    __syncwarp();
  } else {
    __syncthreads();
  }
}

__global__ void Divergent(NoParams) {
  if (threadIdx.x < 32) {  // NOLINT(bugprone-branch-clone): that is the bug.
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void WrongMask(NoParams) { __shfl_xor_sync(0x0000FFFFu, 1, 1); }

__global__ void PartialMma(NoParams) {
  float d[4] = {};
  if (threadIdx.x == 3) return;
  MmaBf16(d, {0, 0, 0, 0}, {0, 0});
}

__global__ void CrookedCopy(NoParams) {
  EBB_DYNAMIC_SHARED(shared);
  CopyAsync16(shared + 8, shared, true);
}

using SimtDeathTest = testing::Test;

TEST(SimtDeathTest, SaysWhoWaitsWhere) {
  const auto run = [](void (*kernel)(NoParams)) {
    simt::Run(kernel, dim3(1), dim3(64), 64, NoParams{});
  };
  EXPECT_DEATH(run(HalfWaits),
               "deadlock(.|\n)*0\\.\\.15: waits in __syncwarp for lanes "
               "0xffffffff at .*simt_test.cc(.|\n)*16\\.\\.63: waits in "
               "__syncthreads at .*simt_test.cc");
  EXPECT_DEATH(run(Divergent), "divergent __syncthreads(.|\n)*0\\.\\.31: (.|\n)*32\\.\\.63: ");
  EXPECT_DEATH(run(WrongMask), "the mask leaves out the calling lane");
  EXPECT_DEATH(run(PartialMma), "needs all 32 lanes");
  EXPECT_DEATH(run(CrookedCopy), "not aligned to 16 bytes");
}

TEST(SimtTest, ImpossibleLaunchesAreTold) {
  EXPECT_EQ(simt::LaunchFault(dim3(1), dim3(1024), 227 << 10), "");
  EXPECT_NE(simt::LaunchFault(dim3(0), dim3(32), 0), "");
  EXPECT_NE(simt::LaunchFault(dim3(1, 65536), dim3(32), 0), "");
  EXPECT_NE(simt::LaunchFault(dim3(1), dim3(1025), 0), "");
  EXPECT_NE(simt::LaunchFault(dim3(1), dim3(32), (227 << 10) + 1), "");
}

// ---- speed, and the lock

struct SpinParams {
  int* sum;
  int rounds;
};

__global__ void Spin(SpinParams p) {
  int value = static_cast<int>(threadIdx.x);
  for (int i = 0; i < p.rounds; ++i) value = __shfl_xor_sync(kAll, value, 1 + i % 31);
  atomicAdd(p.sum, value);
}

TEST(SimtTest, RunsFromSeveralThreads) {
  std::array<int, 3> sums = {};
  std::vector<std::thread> threads;
  threads.reserve(sums.size());
  for (int& sum : sums) {
    threads.emplace_back([&sum] { simt::Run(Spin, dim3(4), dim3(256), 0, SpinParams{&sum, 300}); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const int sum : sums) EXPECT_EQ(sum, 4 * 255 * 256 / 2);
}

}  // namespace
}  // namespace ebb::kernels::cuda
