#include "kernels/dequantize.h"

#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/checked.h"

namespace ebb::kernels {
namespace {

// Byte by byte, so that any address will do and the host's byte order does not matter.
uint16_t Load16(const uint8_t* bytes) { return static_cast<uint16_t>(bytes[0] | bytes[1] << 8); }
float LoadF32(const uint8_t* bytes) {
  const uint32_t bits =
      static_cast<uint32_t>(Load16(bytes)) | static_cast<uint32_t>(Load16(bytes + 2)) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

uint32_t BitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

float FromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

float DequantizePlain(DType dtype, const uint8_t* bytes) {
  switch (dtype) {
    case DType::kF32:
      return LoadF32(bytes);
    case DType::kF16:
      return HalfToFloat(Load16(bytes));
    default:
      return Bf16ToFloat(Load16(bytes));
  }
}

// What must be finite in a block: its scales, or in the plain formats its only element.
bool BlockIsFinite(DType dtype, const uint8_t* block) {
  const QuantTraits traits = QuantTraitsOf(dtype);
  if (traits.bits == 0) return std::isfinite(DequantizePlain(dtype, block));
  const auto half_is_finite = [](const uint8_t* half) { return (Load16(half) & 0x7C00) != 0x7C00; };
  const uint8_t* d = block + QuantScalePlace(dtype);
  return half_is_finite(d) && (!traits.has_minimum || half_is_finite(d + 2));
}

}  // namespace

float HalfToFloat(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t exponent = bits >> 10 & 31;
  const uint32_t mantissa = bits & 1023;
  if (exponent == 31) return FromBits(sign | 0x7F800000u | mantissa << 13);
  if (exponent != 0) return FromBits(sign | (exponent + 112) << 23 | mantissa << 13);
  const float subnormal = static_cast<float>(mantissa) * 0x1p-24f;
  return sign != 0 ? -subnormal : subnormal;
}

float Bf16ToFloat(uint16_t bits) { return FromBits(static_cast<uint32_t>(bits) << 16); }

uint16_t FloatToHalf(float value) {
  const uint32_t bits = BitsOf(value);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00);
  // 65520 is half way between the largest half and what would come next: it rounds to infinity.
  if (magnitude >= 0x477FF000u) return static_cast<uint16_t>(sign | 0x7C00);
  if (magnitude < 0x38800000u) {
    // Below 2^-14 halves are multiples of 2^-24. Adding 0.5 leaves just those bits in the sum, and
    // the processor's own rounding does the ties.
    const float shifted = FromBits(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (BitsOf(shifted) - BitsOf(0.5f)));
  }
  const uint32_t rebased = magnitude - (112u << 23);
  const uint32_t odd = rebased >> 13 & 1;
  return static_cast<uint16_t>(sign | ((rebased + 0xFFF + odd) >> 13));
}

uint16_t FloatToBf16(float value) {
  const uint32_t bits = BitsOf(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

absl::Status CheckShape(const MatrixSource& source) {
  const DTypeTraits traits = TraitsOf(source.dtype);
  if (source.rows < 1 || source.columns < 1 || source.columns % traits.block_elements != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a ", traits.name, " matrix of ", source.rows, " x ", source.columns,
        ": both must be positive and the columns a multiple of ", traits.block_elements));
  }
  const base::Checked bytes = base::Checked(static_cast<uint64_t>(source.rows)) *
                              static_cast<uint64_t>(source.columns / traits.block_elements) *
                              static_cast<uint64_t>(traits.block_bytes);
  if (!bytes.valid() || bytes.value() != source.bytes.size()) {
    return absl::InvalidArgumentError(absl::StrCat("a ", traits.name, " matrix of ", source.rows,
                                                   " x ", source.columns, " does not take ",
                                                   source.bytes.size(), " bytes"));
  }
  return absl::OkStatus();
}

absl::Status CheckMatrix(const MatrixSource& source) {
  if (absl::Status status = CheckShape(source); !status.ok()) return status;
  const DTypeTraits traits = TraitsOf(source.dtype);
  const int64_t row_blocks = source.columns / traits.block_elements;
  const uint8_t* block = source.bytes.data();
  for (int64_t b = 0; b < source.rows * row_blocks; ++b, block += traits.block_bytes) {
    if (BlockIsFinite(source.dtype, block)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("a ", traits.name, " matrix holds a value that is not finite at row ",
                     b / row_blocks, ", column ", b % row_blocks * traits.block_elements));
  }
  return absl::OkStatus();
}

// d times a scale is exact in a float, m times a minimum too. The product with the code and the sum
// are each rounded to float, as ggml's are.
void DequantizeBlock(DType dtype, const QuantBlock& block, absl::Span<float> out) {
  const QuantTraits traits = QuantTraitsOf(dtype);
  const size_t sub_elements = static_cast<size_t>(traits.sub_elements);
  for (size_t begin = 0; begin < out.size(); begin += sub_elements) {
    const size_t sub = begin / sub_elements;
    const float d = HalfToFloat(block.d) * static_cast<float>(block.scales[sub]);
    const float m = HalfToFloat(block.m) * static_cast<float>(block.minimums[sub]);
    for (size_t k = begin; k < begin + sub_elements; ++k) {
      const float product = d * static_cast<float>(block.codes[k] - traits.offset);
      out[k] = traits.has_minimum ? product + m : product;
    }
  }
}

void Dequantize(DType dtype, absl::Span<const uint8_t> bytes, absl::Span<float> out) {
  const DTypeTraits traits = TraitsOf(dtype);
  const size_t blocks = out.size() / traits.block_elements;
  CHECK_EQ(blocks * traits.block_elements, out.size());
  CHECK_EQ(blocks * traits.block_bytes, bytes.size());
  if (traits.block_elements == 1) {
    for (size_t i = 0; i < blocks; ++i) {
      out[i] = DequantizePlain(dtype, bytes.data() + i * traits.block_bytes);
    }
    return;
  }
  QuantBlock block;
  for (size_t b = 0; b < blocks; ++b) {
    ReadQuantBlock(dtype, bytes.data() + b * traits.block_bytes, &block);
    DequantizeBlock(dtype, block, out.subspan(b * traits.block_elements, traits.block_elements));
  }
}

}  // namespace ebb::kernels
