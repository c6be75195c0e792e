// Matrix products of a warpgroup in the SIMT emulator: against plain loops over matrices that are
// laid out by the PTX ISA's words, and that planted bugs are found.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "kernels/cuda/prelude.cuh"
#include "kernels/cuda/warpgroup.cuh"
#include "tests/kernels/cuda/test_seed.h"

namespace ebb::kernels::cuda {
namespace {

constexpr int kInner = 80;  // Of the products: five instructions, the last in a second panel.
constexpr int kColumns = 128;
constexpr int kPanelBytes = 128 * 128;

// Element (row, column) of 128-byte rows in panels of 64 columns: 128-byte swizzling exchanges the
// 16-byte chunks of eight rows, address bits 4 to 6 by bits 7 to 9.
int ElementBytes(int row, int column) {
  const int plain = column / 64 * kPanelBytes + row * 128 + column % 64 * 2;
  return plain ^ (plain >> 7 & 7) << 4;
}

struct ProductParams {
  const uint16_t* a;      // [64, kInner]
  const uint16_t* b;      // [kInner, kColumns]
  float* by_columns;      // [64, 128] = a b, b stored as rows of 80 for each column
  float* by_rows;         // [64, 128] = 1 + a b, b stored as it is
  float* by_rows_narrow;  // [64, 64]: its first half
  float* before_wait;     // [128]: what a thread reads of an accumulator too early
};

template <int n>
__device__ void StoreFragments(float* out, const float (&d)[n][4]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  for (int i = 0; i < n * 4; ++i) {
    const int row = warp * 16 + lane / 4 + i % 4 / 2 * 8;
    out[row * n * 8 + i / 4 * 8 + lane % 4 * 2 + i % 2] = d[i / 4][i % 4];
  }
}

template <int n>
__device__ void Fill(float (&d)[n][4], float value) {
  for (int i = 0; i < n * 4; ++i) d[i / 4][i % 4] = value;
}

__global__ void Products(ProductParams p) {
  EBB_DYNAMIC_SHARED_1024(shared);
  uint8_t* const b_columns = shared;                 // [128 columns][128 of 80]: two panels
  uint8_t* const b_rows = shared + 2 * kPanelBytes;  // [128 of 80][128 columns]: two panels
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < kInner * kColumns; i += 128) {
    const int k = i / kColumns;
    const int column = i % kColumns;
    *reinterpret_cast<uint16_t*>(b_columns + ElementBytes(column, k)) = p.b[i];
    *reinterpret_cast<uint16_t*>(b_rows + ElementBytes(k, column)) = p.b[i];
  }
  uint32_t a[kInner / 16][4];
  for (int i = 0; i < kInner / 16 * 4; ++i) {
    const int row = thread / 32 * 16 + thread % 32 / 4 + i % 2 * 8;
    const int k = i / 4 * 16 + thread % 4 * 2 + i % 4 / 2 * 8;
    a[i / 4][i % 4] = p.a[row * kInner + k] | static_cast<uint32_t>(p.a[row * kInner + k + 1])
                                                  << 16;
  }
  FenceAsyncProxy();
  __syncthreads();

  float columns[16][4], rows[16][4], narrow[8][4];
  Fill(columns, NAN);  // The first product does not read it.
  Fill(rows, 1);
  Fill(narrow, 1);
  WarpgroupArrive();
  for (int k = 0; k < kInner / 16; ++k) {
    const uint64_t b = SwizzledMatrix(b_columns + k / 4 * kPanelBytes + k % 4 * 32, 0, 1024);
    if (k == 0) {
      WarpgroupMma<false>(columns, a[k], b);
    } else {
      WarpgroupMma<true>(columns, a[k], b);
    }
  }
  WarpgroupCommit();
  p.before_wait[thread] = columns[thread % 16][thread % 4];
  WarpgroupArrive();
  for (int k = 0; k < kInner / 16; ++k) {
    const uint64_t b = SwizzledMatrix(b_rows + k * 16 * 128, kPanelBytes, 1024);
    WarpgroupMmaRows(rows, a[k], b);
    WarpgroupMmaRows(narrow, a[k], b);
  }
  WarpgroupCommit();
  WarpgroupWait<1>();
  StoreFragments(p.by_columns, columns);
  WarpgroupWait<0>();
  StoreFragments(p.by_rows, rows);
  StoreFragments(p.by_rows_narrow, narrow);
}

TEST(SimtWarpgroupTest, ProductsFollowTheirDescriptors) {
  base::Rng rng(TestSeed(1));
  std::vector<uint16_t> a(64 * kInner), b(kInner * kColumns);
  // Small integers: every sum is exact in float32, in any order.
  for (uint16_t& x : a) x = ToBf16(static_cast<float>(rng.Between(-9, 9)));
  for (uint16_t& x : b) x = ToBf16(static_cast<float>(rng.Between(-9, 9)));
  for (int trial = 0; trial < 5; ++trial) {
    std::vector<float> by_columns(64 * 128), by_rows(64 * 128), narrow(64 * 64), early(128);
    simt::Run(Products, dim3(1), dim3(128), 4 * kPanelBytes,
              ProductParams{a.data(), b.data(), by_columns.data(), by_rows.data(), narrow.data(),
                            early.data()});
    for (int row = 0; row < 64; ++row) {
      for (int column = 0; column < kColumns; ++column) {
        float sum = 0;
        for (int k = 0; k < kInner; ++k) {
          sum += ToFloat(a[row * kInner + k]) * ToFloat(b[k * kColumns + column]);
        }
        ASSERT_EQ(by_columns[row * 128 + column], sum) << row << "," << column;
        ASSERT_EQ(by_rows[row * 128 + column], sum + 1) << row << "," << column;
        if (column < 64) {
          ASSERT_EQ(narrow[row * 64 + column], sum + 1) << row << "," << column;
        }
      }
    }
    for (const float x : early) ASSERT_TRUE(std::isnan(x));
  }
}

// ---- what ends the process

enum class Bug {
  kNone,
  kNoArrive,
  kStoresUnfenced,
  kCopiesUnfenced,
  kRefilledTooEarly,
  kOperandTouched,
  kAccumulatorTouched,
  kNotWaited,
  kHalfAWarpgroup,
  kDifferentProducts,
  kNoSwizzle,
  kOutside,
};

struct BugParams {
  Bug bug;
  const uint8_t* zeros;
};

__global__ void Buggy(BugParams p) {
  EBB_DYNAMIC_SHARED_1024(shared);
  const int thread = static_cast<int>(threadIdx.x);
  const auto fill = [&] {
    for (int i = thread * 16; i < kPanelBytes; i += 128 * 16) {
      CopyAsync16(shared + i, p.zeros, true);
    }
    CopyAsyncCommit();
  };
  fill();
  CopyAsyncWait<0>();
  if (p.bug != Bug::kCopiesUnfenced) FenceAsyncProxy();
  __syncthreads();
  if (p.bug == Bug::kStoresUnfenced) shared[thread] = 1;
  if (p.bug == Bug::kHalfAWarpgroup && thread >= 64) return;
  uint64_t b = SwizzledMatrix(shared, 0, 1024);
  if (p.bug == Bug::kNoSwizzle) b &= ~(uint64_t{3} << 62);
  if (p.bug == Bug::kOutside) b += 1024 >> 4;
  if (p.bug == Bug::kDifferentProducts && thread >= 96) b += 2;
  float d[16][4];
  Fill(d, 0);
  uint32_t a[4] = {0, 0, 0, 0};
  if (p.bug != Bug::kNoArrive) WarpgroupArrive();
  WarpgroupMma<true>(d, a, b);
  WarpgroupCommit();
  if (p.bug == Bug::kOperandTouched) a[2] = 1;
  if (p.bug == Bug::kAccumulatorTouched) d[3][1] = 1;
  if (p.bug == Bug::kRefilledTooEarly) fill();
  if (p.bug != Bug::kNotWaited) WarpgroupWait<0>();
}

void RunBuggy(Bug bug) {
  alignas(16) const uint8_t zeros[16] = {};
  // Often enough that the seed has the shared memory read late.
  for (int i = 0; i < 20; ++i) {
    simt::Run(Buggy, dim3(1), dim3(128), kPanelBytes, BugParams{bug, zeros});
  }
}

TEST(SimtWarpgroupTest, WhatIsRightRuns) { RunBuggy(Bug::kNone); }

// Before any other: ThreadSanitizer knows no order in a process that was forked from one with
// fibers.
TEST(SimtWarpgroupDeathTest, SaysWhatIsWrong) {
  EXPECT_DEATH(RunBuggy(Bug::kNoArrive), "without a wgmma.fence");
  EXPECT_DEATH(RunBuggy(Bug::kStoresUnfenced), "since the last fence.proxy.async");
  EXPECT_DEATH(RunBuggy(Bug::kCopiesUnfenced), "since the last fence.proxy.async");
  EXPECT_DEATH(RunBuggy(Bug::kRefilledTooEarly), "since the last fence.proxy.async");
  EXPECT_DEATH(RunBuggy(Bug::kOperandTouched), "an operand's registers were written");
  EXPECT_DEATH(RunBuggy(Bug::kAccumulatorTouched), "an accumulator was written");
  EXPECT_DEATH(RunBuggy(Bug::kNotWaited), "ended before its matrix products were waited for");
  EXPECT_DEATH(RunBuggy(Bug::kHalfAWarpgroup), "different matrix products");
  EXPECT_DEATH(RunBuggy(Bug::kDifferentProducts), "different matrix products");
  EXPECT_DEATH(RunBuggy(Bug::kNoSwizzle), "not emulated");
  EXPECT_DEATH(RunBuggy(Bug::kOutside), "outside of shared memory");
}

}  // namespace
}  // namespace ebb::kernels::cuda
