// The number formats of weights and of the KV cache.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace ebb::kernels {

// The block formats are ggml's. 32 consecutive elements of a row share a scale:
//   Q8_0: f16 d, 32 x int8 q                      x = d * q
//   Q4_0: f16 d, 16 bytes of nibbles              x = d * (q - 8)
//   Q4_1: f16 d, f16 m, 16 bytes                  x = d * q + m
//   Q5_0: f16 d, 4 bytes of fifth bits, 16 bytes  x = d * (q - 16)
//   Q5_1: f16 d, f16 m, 4 bytes, 16 bytes         x = d * q + m
// The low nibble of byte j is element j and its high nibble element j + 16; bit j of the fifth bits
// belongs to element j.
//
// The K formats: 256 elements share d (and m), 32 of them (Q6_K: 16) a small integer with which it
// is multiplied.
//   Q4_K: f16 d, f16 m, 12 bytes of scales s and minimums n of 6 bits, 128 bytes of nibbles
//                                                 x = d * s * q - m * n
//   Q5_K: the same with 32 bytes of fifth bits before the nibbles
//   Q6_K: 128 bytes of nibbles, 64 of upper two bits, 16 x int8 s, f16 d
//                                                 x = d * s * (q - 32)
// How their bits lie: quant_block.cc.
enum class DType { kF32, kF16, kBF16, kQ8_0, kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ4_K, kQ5_K, kQ6_K };

inline constexpr int kDTypeCount = 11;

struct DTypeTraits {
  absl::string_view name;  // ggml's name: "F32", "Q4_1".
  int32_t block_elements;  // Elements that share a block; 1 for the plain formats.
  int32_t block_bytes;
};

constexpr DTypeTraits TraitsOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return {"F32", 1, 4};
    case DType::kF16:
      return {"F16", 1, 2};
    case DType::kBF16:
      return {"BF16", 1, 2};
    case DType::kQ8_0:
      return {"Q8_0", 32, 34};
    case DType::kQ4_0:
      return {"Q4_0", 32, 18};
    case DType::kQ4_1:
      return {"Q4_1", 32, 20};
    case DType::kQ5_0:
      return {"Q5_0", 32, 22};
    case DType::kQ5_1:
      return {"Q5_1", 32, 24};
    case DType::kQ4_K:
      return {"Q4_K", 256, 144};
    case DType::kQ5_K:
      return {"Q5_K", 256, 176};
    case DType::kQ6_K:
      return {"Q6_K", 256, 210};
  }
  return {"?", 1, 0};
}

// What the block formats have in common: an element is
//   (d * scale) * (code - offset) + (m * minimum)
// where scale and minimum belong to `sub_elements` consecutive ones and are 1 where d and m stand
// for themselves (has_scales).
struct QuantTraits {
  int32_t bits = 0;  // Of a code, which is unsigned; 0 for the plain formats.
  int32_t offset = 0;
  int32_t sub_elements = 0;
  bool has_minimum = false;
  bool has_scales = false;
};

constexpr QuantTraits QuantTraitsOf(DType dtype) {
  switch (dtype) {
    case DType::kQ8_0:
      return {8, 128, 32, false, false};
    case DType::kQ4_0:
      return {4, 8, 32, false, false};
    case DType::kQ4_1:
      return {4, 0, 32, true, false};
    case DType::kQ5_0:
      return {5, 16, 32, false, false};
    case DType::kQ5_1:
      return {5, 0, 32, true, false};
    case DType::kQ4_K:
      return {4, 0, 32, true, true};
    case DType::kQ5_K:
      return {5, 0, 32, true, true};
    case DType::kQ6_K:
      return {6, 32, 16, false, true};
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
      break;
  }
  return {};
}

}  // namespace ebb::kernels
