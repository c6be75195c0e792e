// The number formats in plain scalar code: what each weight of a file is worth, and whether a file
// may be used at all. Runs at load and in the reference; no speed is asked of it.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/dtype.h"
#include "kernels/quant_block.h"

namespace ebb::kernels {

// IEEE binary16 and bfloat16, exact in this direction.
float HalfToFloat(uint16_t bits);
float Bf16ToFloat(uint16_t bits);

// Rounded to nearest, ties to even; NaN stays NaN, what is too large becomes an infinity.
uint16_t FloatToHalf(float value);
uint16_t FloatToBf16(float value);

// INVALID_ARGUMENT unless the shape is positive, columns are whole blocks, and `bytes` is exactly
// as long as the shape asks.
absl::Status CheckShape(const MatrixSource& source);

// CheckShape, and INVALID_ARGUMENT when a block scale (in the plain formats: a weight) is NaN or
// infinite; names the row and the column.
absl::Status CheckMatrix(const MatrixSource& source);

// Writes the weights of one block: out.size() is the format's block.
void DequantizeBlock(DType dtype, const QuantBlock& block, absl::Span<float> out);

// Writes out.size() weights. REQUIRES: out.size() is a multiple of the format's block and `bytes`
// is exactly as long as that many weights need.
void Dequantize(DType dtype, absl::Span<const uint8_t> bytes, absl::Span<float> out);

}  // namespace ebb::kernels
