// The AVX-512 kernels: F, BW, VL, DQ and VNNI.
//
// The target options cover only what stands between push_options and pop_options, all of it in an
// anonymous namespace: no inline function of a header can come out of this file in AVX-512 form and
// be picked by the linker for the rest of the program.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/panel_layout.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")

namespace ebb::kernels::cpu {
namespace {

#include "kernels/cpu/vec_avx512.inc"
// After the vectors.
#include "kernels/cpu/row_ops.inc"
// After the row operations.
#include "kernels/cpu/attention.inc"
#include "kernels/cpu/block_codes.inc"
#include "kernels/cpu/block_scales.inc"

// Writes 16 outputs of one row, or as many as the last panel has.
EBB_INLINE void StoreOutputs(const MatmulTile& tile, int32_t panel, int, int32_t row, F32 sums) {
  float* y = tile.y + row * tile.y_stride + panel * kPanelRows;
  if (panel + 1 < tile.panel_count || tile.last_outputs == kPanelRows) {
    Store(y, tile.accumulate ? Add(Load(y), sums) : sums);
  } else {
    const int n = tile.last_outputs;
    StoreN(y, tile.accumulate ? Add(LoadN(y, n), sums) : sums, n);
  }
}

// After StoreOutputs.
#include "kernels/cpu/plain_matmul.inc"

// 16 activations as 256 * high + low, low in [-127, 127] (a low of -128 becomes -127: one part in
// 32512 of the largest, and its negative is a byte too). Returns their sum.
EBB_INLINE int32_t SplitPlanes(__m512i q, int8_t* high, int8_t* low) {
  const __m512i high_q = _mm512_srai_epi32(_mm512_add_epi32(q, _mm512_set1_epi32(128)), 8);
  const __m512i low_q =
      _mm512_max_epi32(_mm512_sub_epi32(q, _mm512_slli_epi32(high_q, 8)), _mm512_set1_epi32(-127));
  _mm_store_si128(reinterpret_cast<__m128i*>(high), _mm512_cvtsepi32_epi8(high_q));
  _mm_store_si128(reinterpret_cast<__m128i*>(low), _mm512_cvtsepi32_epi8(low_q));
  return _mm512_reduce_add_epi32(_mm512_add_epi32(_mm512_slli_epi32(high_q, 8), low_q));
}

void QuantizeRow(const PackRow& row, float scale) {
  for (int64_t b = row.first_column / kBlockColumns; b < row.end_column / kBlockColumns; ++b) {
    const F32 low = NormedAt(row, scale, b * kBlockColumns);
    const F32 high = NormedAt(row, scale, b * kBlockColumns + kLanes);
    // A NaN stands second, where Max lets it through.
    const float largest = ReduceMax(Max(Abs(low), Abs(high)));
    const F32 unordered = Add(low, high);
    const bool finite =
        largest < __builtin_inff() && _mm512_cmp_ps_mask(unordered, unordered, _CMP_UNORD_Q) == 0;
    alignas(64) int8_t q[2 * kBlockColumns] = {};
    if (!finite) {
      StoreBlock(row, b, q, 0, 0, __builtin_nanf(""));
      continue;
    }
    if (largest < kSmallestMaximum) {
      StoreBlock(row, b, q, 0, 0, 0.0f);
      continue;
    }
    const F32 inverse = Set1(kQuantizedMax / largest);
    const int32_t first_sum =
        SplitPlanes(_mm512_cvtps_epi32(Mul(low, inverse)), q, q + kBlockColumns);
    const int32_t last_sum =
        SplitPlanes(_mm512_cvtps_epi32(Mul(high, inverse)), q + kLanes, q + kBlockColumns + kLanes);
    StoreBlock(row, b, q, first_sum, last_sum, largest / kQuantizedMax);
  }
}

// The 32 x 16 codes of one block as unsigned bytes: vector j holds quad j of 16 outputs.
template <DType kDType>
EBB_INLINE void LoadWeights(const uint8_t* quants, Bytes (&weights)[8]) {
  constexpr int kBits = QuantTraitsOf(kDType).bits;
  if constexpr (kBits == 8) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) weights[j] = LoadBytes(quants + 64 * j);
    return;
  }
  UnpackCodes<kBits>(quants, weights);
}

// The dot products of part `kPart` of kParts of a block, for rows t .. t + kCount - 1 of a group,
// 16 outputs each. A row's planes have a chain of their own: one chain of all products would wait
// for itself.
template <DType kDType, int kRows, int kCount, int kParts, int kPart>
EBB_INLINE void BlockDots(const Bytes (&weights)[8], const uint8_t* x, int t,
                          __m512i (&dots)[kCount]) {
  const auto* quads = reinterpret_cast<const int32_t*>(x) + t;
  __m512i high[kCount];
  __m512i low[kCount];
#pragma GCC unroll 2
  for (int i = 0; i < kCount; ++i) {
    high[i] = low[i] = _mm512_setzero_si512();
    if constexpr (QuantTraitsOf(kDType).offset != 0) {
      // What the codes are too high, as a shift of the activations' sum.
      low[i] = _mm512_slli_epi32(_mm512_set1_epi32(NegativeSum<kParts>(x, kRows, t + i, kPart)),
                                 OffsetShift<kDType>());
    }
  }
#pragma GCC unroll 8
  for (int j = 8 / kParts * kPart; j < 8 / kParts * (kPart + 1); ++j) {
#pragma GCC unroll 2
    for (int i = 0; i < kCount; ++i) {
      high[i] = _mm512_dpbusd_epi32(high[i], weights[j], _mm512_set1_epi32(quads[j * kRows + i]));
      low[i] =
          _mm512_dpbusd_epi32(low[i], weights[j], _mm512_set1_epi32(quads[(8 + j) * kRows + i]));
    }
  }
  // At most 32 * 255 * 32512 < 2^31.
#pragma GCC unroll 2
  for (int i = 0; i < kCount; ++i) {
    dots[i] = _mm512_add_epi32(_mm512_slli_epi32(high[i], 8), low[i]);
  }
}

// The scales of one block: d of each part, and m.
template <int kParts>
struct BlockScales {
  F32 d[kParts];
  F32 m;
};

// Adds rows t .. t + kCount - 1 of one part of a block, scaled, to their sums.
template <DType kDType, int kRows, int kCount, int kParts, int kPart>
EBB_INLINE void AddPart(const Bytes (&weights)[8], const BlockScales<kParts>& scales,
                        const uint8_t* x, int t, F32 (&sums)[kRows]) {
  const auto* row_d = reinterpret_cast<const float*>(x + 64 * kRows);
  const auto* row_s = reinterpret_cast<const float*>(x + 68 * kRows);
  __m512i dots[kCount];
  BlockDots<kDType, kRows, kCount, kParts, kPart>(weights, x, t, dots);
#pragma GCC unroll 2
  for (int i = 0; i < kCount; ++i) {
    const F32 dot = _mm512_cvtepi32_ps(dots[i]);
    const F32 scale = Mul(scales.d[kPart], Set1(row_d[t + i]));
    if constexpr (QuantTraitsOf(kDType).has_minimum) {
      const F32 offset = Mul(scales.m, Set1(row_s[t + i]));
      sums[t + i] = Add(sums[t + i], Fma(dot, scale, offset));
    } else {
      sums[t + i] = Fma(dot, scale, sums[t + i]);
    }
  }
}

template <DType kDType, int kRows, int kCount, int kParts>
EBB_INLINE void AddBlock(const Bytes (&weights)[8], const BlockScales<kParts>& scales,
                         const uint8_t* x, int t, F32 (&sums)[kRows]) {
  AddPart<kDType, kRows, kCount, kParts, 0>(weights, scales, x, t, sums);
  if constexpr (kParts == 2) {
    AddPart<kDType, kRows, kCount, kParts, 1>(weights, scales, x, t, sums);
  }
}

// One panel times a group of kRows rows. A function of its own for each kRows: put together they
// would take the compiler minutes.
template <DType kDType, int kRows>
__attribute__((noinline)) void BlockPanel(const MatmulTile& tile, int32_t panel) {
  constexpr PanelLayout kLayout = PanelLayoutOf(kDType);
  constexpr int64_t kGroupBlocks = kLayout.blocks_per_group();
  constexpr int kParts = kLayout.subs_per_block();
  const int64_t blocks = tile.columns / kBlockColumns;
  const uint8_t* quants = tile.panels + panel * tile.panel_bytes;
  const uint8_t* group = quants + blocks * kLayout.quant_bytes;
  const uint8_t* x = tile.x;
  F32 sums[kRows];
#pragma GCC unroll 16
  for (int t = 0; t < kRows; ++t) sums[t] = Zero();
  for (int64_t b = 0; b < blocks; ++b) {
#pragma GCC unroll 8
    for (int64_t i = 0; i < kLayout.quant_bytes; i += 64) Prefetch(quants + kPrefetchBytes + i);
    const int64_t place = b % kGroupBlocks;
    Prefetch(group + kPrefetchBytes + kLayout.group_bytes / kGroupBlocks * place);
    __m512i weights[8];
    LoadWeights<kDType>(quants, weights);
    BlockScales<kParts> scales;
#pragma GCC unroll 2
    for (int i = 0; i < kParts; ++i) scales.d[i] = ScaleAt<kDType>(group, kParts * place + i, 0);
    if constexpr (kLayout.quant.has_minimum) scales.m = MinimumAt<kDType>(group, place, 0);
#pragma GCC unroll 8
    for (int t = 0; t + 1 < kRows; t += 2) {
      AddBlock<kDType, kRows, 2>(weights, scales, x, t, sums);
    }
    if constexpr (kRows % 2 == 1) {
      AddBlock<kDType, kRows, 1>(weights, scales, x, kRows - 1, sums);
    }
    quants += kLayout.quant_bytes;
    if (place == kGroupBlocks - 1) group += kLayout.group_bytes;
    x += kQuantizedBlockBytes * kRows;
  }
#pragma GCC unroll 16
  for (int t = 0; t < kRows; ++t) StoreOutputs(tile, panel, 0, t, sums[t]);
}

template <DType kDType, int kRows>
void BlockRows(const MatmulTile& tile) {
  for (int32_t panel = 0; panel < tile.panel_count; ++panel) BlockPanel<kDType, kRows>(tile, panel);
}

template <DType kDType>
void BlockMatmul(const MatmulTile& tile) {
  switch (tile.width) {
    case 1:
      return BlockRows<kDType, 1>(tile);
    case 2:
      return BlockRows<kDType, 2>(tile);
    case 3:
      return BlockRows<kDType, 3>(tile);
    case 4:
      return BlockRows<kDType, 4>(tile);
    case 5:
      return BlockRows<kDType, 5>(tile);
    case 6:
      return BlockRows<kDType, 6>(tile);
    case 7:
      return BlockRows<kDType, 7>(tile);
    case 8:
      return BlockRows<kDType, 8>(tile);
    default:
      return BlockRows<kDType, kGroupRows>(tile);
  }
}

}  // namespace

const KernelTable& Avx512Kernels() {
  static constexpr KernelTable kTable = {
      "avx512",
      &Pack,
      {&PlainMatmul<DType::kF32>, &PlainMatmul<DType::kF16>, &PlainMatmul<DType::kBF16>,
       &BlockMatmul<DType::kQ8_0>, &BlockMatmul<DType::kQ4_0>, &BlockMatmul<DType::kQ4_1>,
       &BlockMatmul<DType::kQ5_0>, &BlockMatmul<DType::kQ5_1>, &BlockMatmul<DType::kQ4_K>,
       &BlockMatmul<DType::kQ5_K>, &BlockMatmul<DType::kQ6_K>},
      &SiluTimesRow,
      &RopeAndStoreRow,
      &Attend,
  };
  return kTable;
}

}  // namespace ebb::kernels::cpu

#pragma GCC pop_options
