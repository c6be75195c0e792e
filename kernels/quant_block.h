// QuantBlock: one block of a file's quantised weights, taken apart. The one place that knows where
// the bits of a format lie; for how they make a weight see QuantTraits.
#pragma once

#include <cstdint>

#include "kernels/dtype.h"

namespace ebb::kernels {

inline constexpr int kQuantBlockElementsMax = 256;
inline constexpr int kQuantSubBlocksMax = 16;

struct QuantBlock {
  uint16_t d = 0;  // f16, also below.
  uint16_t m = 0;  // The file's, with its sign turned where the format takes it away.
  int8_t scales[kQuantSubBlocksMax] = {};
  int8_t minimums[kQuantSubBlocksMax] = {};
  uint8_t codes[kQuantBlockElementsMax] = {};
};

// Where d stands in a block of the file; m, where the format has one, follows it.
constexpr int QuantScalePlace(DType dtype) { return dtype == DType::kQ6_K ? 208 : 0; }

// REQUIRES: `dtype` is a block format; `bytes` has one of its blocks, at any address.
void ReadQuantBlock(DType dtype, const uint8_t* bytes, QuantBlock* block);

}  // namespace ebb::kernels
