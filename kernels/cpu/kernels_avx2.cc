// The AVX2 kernels: AVX2, FMA and F16C, for processors without AVX-512 VNNI.
//
// As in kernels_avx512.cc, the target options cover only functions with internal linkage.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/panel_layout.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")

namespace ebb::kernels::cpu {
namespace {

#include "kernels/cpu/vec_avx2.inc"
// After the vectors.
#include "kernels/cpu/row_ops.inc"
// After the row operations.
#include "kernels/cpu/attention.inc"
#include "kernels/cpu/block_codes.inc"
#include "kernels/cpu/block_scales.inc"

// Writes outputs 8 * half .. 8 * half + 7 of one row, or as many of them as the last panel has.
EBB_INLINE void StoreOutputs(const MatmulTile& tile, int32_t panel, int half, int32_t row,
                             F32 sums) {
  float* y = tile.y + row * tile.y_stride + panel * kPanelRows + half * kLanes;
  const int left = panel + 1 < tile.panel_count ? kLanes : tile.last_outputs - half * kLanes;
  if (left >= kLanes) {
    Store(y, tile.accumulate ? Add(Load(y), sums) : sums);
  } else if (left > 0) {
    StoreN(y, tile.accumulate ? Add(LoadN(y, left), sums) : sums, left);
  }
}

// After StoreOutputs.
#include "kernels/cpu/plain_matmul.inc"

void QuantizeRow(const PackRow& row, float scale) {
  for (int64_t b = row.first_column / kBlockColumns; b < row.end_column / kBlockColumns; ++b) {
    F32 parts[4];
    for (int i = 0; i < 4; ++i) parts[i] = NormedAt(row, scale, b * kBlockColumns + i * kLanes);
    const float largest =
        ReduceMax(Max(Max(Abs(parts[0]), Abs(parts[1])), Max(Abs(parts[2]), Abs(parts[3]))));
    const F32 unordered = Add(Add(parts[0], parts[1]), Add(parts[2], parts[3]));
    const bool finite = largest < __builtin_inff() &&
                        _mm256_movemask_ps(_mm256_cmp_ps(unordered, unordered, _CMP_UNORD_Q)) == 0;
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
    int32_t sums[2] = {};  // Of each half.
    for (int i = 0; i < 4; ++i) {
      alignas(32) int32_t lanes[kLanes];
      _mm256_store_si256(reinterpret_cast<__m256i*>(lanes),
                         _mm256_cvtps_epi32(Mul(parts[i], inverse)));
      for (int j = 0; j < kLanes; ++j) {
        // low in [-127, 127] (a low of -128 becomes -127: one part in 32512 of the largest), so
        // that its negative is a byte too.
        const int32_t high = (lanes[j] + 128) >> 8;
        const int32_t low = lanes[j] - 256 * high < -127 ? -127 : lanes[j] - 256 * high;
        q[i * kLanes + j] = static_cast<int8_t>(high);
        q[kBlockColumns + i * kLanes + j] = static_cast<int8_t>(low);
        sums[i / 2] += 256 * high + low;
      }
    }
    StoreBlock(row, b, q, sums[0], sums[1], largest / kQuantizedMax);
  }
}

// How many quads' products of codes of kBits and activations a lane of 16 bits can add up: each is
// two of at most (2^kBits - 1) * 127, and the sum must stay below 2^15.
constexpr int QuadsOfSum(int bits) { return bits == 4 ? 8 : bits == 5 ? 4 : 2; }

// Dot products of one plane with part `kPart` of kParts of a block: 8 outputs, one row. 8-bit
// weights: the product of the weight's magnitude with the activation under the weight's sign, 2 of
// at most 128 * 127 in a lane.
template <DType kDType, int kParts, int kPart>
EBB_INLINE __m256i BlockDot(const Bytes (&weights)[8], const int32_t* quads, int32_t width) {
  constexpr int kBits = QuantTraitsOf(kDType).bits;
  constexpr int kFirst = 8 / kParts * kPart;
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i dot = _mm256_setzero_si256();
  if constexpr (kBits == 8) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
      const __m256i x = _mm256_set1_epi32(quads[j * width]);
      const __m256i products =
          _mm256_maddubs_epi16(_mm256_abs_epi8(weights[j]), _mm256_sign_epi8(x, weights[j]));
      dot = _mm256_add_epi32(dot, _mm256_madd_epi16(products, ones));
    }
  } else {
    constexpr int kQuads = QuadsOfSum(kBits);
#pragma GCC unroll 4
    for (int first = kFirst; first < kFirst + 8 / kParts; first += kQuads) {
      __m256i sum = _mm256_setzero_si256();
#pragma GCC unroll 8
      for (int j = first; j < first + kQuads; ++j) {
        const __m256i x = _mm256_set1_epi32(quads[j * width]);
        sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(weights[j], x));
      }
      dot = _mm256_add_epi32(dot, _mm256_madd_epi16(sum, ones));
    }
  }
  return dot;
}

// The codes of one block, of 8 bits as signed weights: vector j holds quad j of 8 outputs.
template <DType kDType>
EBB_INLINE void LoadWeights(const uint8_t* quants, Bytes (&weights)[8]) {
  constexpr int kBits = QuantTraitsOf(kDType).bits;
  if constexpr (kBits == 8) {
    const __m256i sign = _mm256_set1_epi8(-128);
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) weights[j] = _mm256_xor_si256(sign, LoadBytes(quants + 64 * j));
    return;
  }
  UnpackCodes<kBits>(quants, weights);
}

// Adds one part of a block, scaled, to the sum of row `row` of a group.
template <DType kDType, int kParts, int kPart>
EBB_INLINE void AddPart(const Bytes (&weights)[8], F32 d, F32 m, const uint8_t* x, int32_t width,
                        int32_t row, F32* sum) {
  const auto* quads = reinterpret_cast<const int32_t*>(x) + row;
  const auto* row_d = reinterpret_cast<const float*>(x + 64 * width) + row;
  const auto* row_s = reinterpret_cast<const float*>(x + 68 * width) + row;
  const __m256i high = BlockDot<kDType, kParts, kPart>(weights, quads, width);
  const __m256i low = BlockDot<kDType, kParts, kPart>(weights, quads + 8 * width, width);
  __m256i dot = _mm256_add_epi32(_mm256_slli_epi32(high, 8), low);
  // What the codes are too high, as a shift of the activations' sum.
  if constexpr (QuantTraitsOf(kDType).offset != 0 && QuantTraitsOf(kDType).bits != 8) {
    const __m256i negative_sum = _mm256_set1_epi32(NegativeSum<kParts>(x, width, row, kPart));
    dot = _mm256_add_epi32(dot, _mm256_slli_epi32(negative_sum, OffsetShift<kDType>()));
  }
  const F32 scale = Mul(d, Set1(*row_d));
  if constexpr (QuantTraitsOf(kDType).has_minimum) {
    const F32 offset = Mul(m, Set1(*row_s));
    *sum = Add(*sum, Fma(_mm256_cvtepi32_ps(dot), scale, offset));
  } else {
    *sum = Fma(_mm256_cvtepi32_ps(dot), scale, *sum);
  }
}

// Half a panel (8 outputs) times kRows rows of a group, from `row` on.
template <DType kDType, int kRows>
EBB_INLINE void BlockHalf(const MatmulTile& tile, int32_t panel, int half, int32_t row) {
  constexpr PanelLayout kLayout = PanelLayoutOf(kDType);
  constexpr int64_t kGroupBlocks = kLayout.blocks_per_group();
  constexpr int kParts = kLayout.subs_per_block();
  const int64_t width = tile.width;
  const int64_t blocks = tile.columns / kBlockColumns;
  const uint8_t* quants = tile.panels + panel * tile.panel_bytes + half * 32;
  const uint8_t* group = tile.panels + panel * tile.panel_bytes + blocks * kLayout.quant_bytes;
  const uint8_t* x = tile.x;
  F32 sums[kRows];
#pragma GCC unroll 4
  for (int t = 0; t < kRows; ++t) sums[t] = Zero();
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t place = b % kGroupBlocks;
    if (half == 0 && row == 0) {
#pragma GCC unroll 8
      for (int64_t i = 0; i < kLayout.quant_bytes; i += 64) Prefetch(quants + kPrefetchBytes + i);
      Prefetch(group + kPrefetchBytes + kLayout.group_bytes / kGroupBlocks * place);
    }
    __m256i weights[8];
    LoadWeights<kDType>(quants, weights);
    const F32 d = ScaleAt<kDType>(group, kParts * place, half);
    F32 m = Zero();
    if constexpr (kLayout.quant.has_minimum) m = MinimumAt<kDType>(group, place, half);
#pragma GCC unroll 4
    for (int t = 0; t < kRows; ++t) {
      AddPart<kDType, kParts, 0>(weights, d, m, x, tile.width, row + t, &sums[t]);
    }
    if constexpr (kParts == 2) {
      const F32 last_d = ScaleAt<kDType>(group, kParts * place + 1, half);
#pragma GCC unroll 4
      for (int t = 0; t < kRows; ++t) {
        AddPart<kDType, kParts, 1>(weights, last_d, m, x, tile.width, row + t, &sums[t]);
      }
    }
    quants += kLayout.quant_bytes;
    if (place == kGroupBlocks - 1) group += kLayout.group_bytes;
    x += kQuantizedBlockBytes * width;
  }
#pragma GCC unroll 4
  for (int t = 0; t < kRows; ++t) StoreOutputs(tile, panel, half, row + t, sums[t]);
}

template <DType kDType>
void BlockMatmul(const MatmulTile& tile) {
  for (int32_t panel = 0; panel < tile.panel_count; ++panel) {
    for (int half = 0; half < kHalves; ++half) {
      int32_t row = 0;
      for (; row + 4 <= tile.width; row += 4) BlockHalf<kDType, 4>(tile, panel, half, row);
      for (; row < tile.width; ++row) BlockHalf<kDType, 1>(tile, panel, half, row);
    }
  }
}

}  // namespace

const KernelTable& Avx2Kernels() {
  static constexpr KernelTable kTable = {
      "avx2",
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
