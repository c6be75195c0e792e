// The number formats of weights and of the KV cache.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace ebb::kernels {

// The block formats are ggml's: 32 consecutive elements of a row share a scale.
//   Q8_0: f16 d, 32 x int8 q               x = d * q
//   Q4_0: f16 d, 16 bytes of nibbles       x = d * (q - 8)
//   Q4_1: f16 d, f16 m, 16 bytes           x = d * q + m
// In Q4_0 and Q4_1 the low nibble of byte j is element j and its high nibble element j + 16.
enum class DType { kF32, kF16, kBF16, kQ8_0, kQ4_0, kQ4_1 };

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
  }
  return {"?", 1, 0};
}

}  // namespace ebb::kernels
