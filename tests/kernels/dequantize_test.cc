#include "kernels/dequantize.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>

#include "tests/kernels/kernel_test_util.h"

namespace ebb::kernels {
namespace {

// A half by its definition: sign, 5 bits of exponent, 10 of fraction.
double HalfByDefinition(uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const int fraction = bits & 1023;
  const double size =
      exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return (bits & 0x8000) != 0 ? -size : size;
}

TEST(Dequantize, EveryHalf) {
  for (int i = 0; i < 65536; ++i) {
    const auto bits = static_cast<uint16_t>(i);
    const float value = HalfToFloat(bits);
    if ((bits & 0x7C00) == 0x7C00) {
      EXPECT_EQ(std::isnan(value), (bits & 1023) != 0);
      EXPECT_EQ(std::isinf(value), (bits & 1023) == 0);
      if (std::isinf(value)) {
        EXPECT_EQ(FloatToHalf(value), bits);
      }
      continue;
    }
    ASSERT_EQ(static_cast<double>(value), HalfByDefinition(bits));
    ASSERT_EQ(FloatToHalf(value), bits);
    // Half way to the next one, and a little to either side: to even, down, up.
    if ((bits & 0x7FFF) >= 0x7BFF) continue;
    const double next = HalfByDefinition(static_cast<uint16_t>(bits + 1));
    const auto middle = static_cast<float>((static_cast<double>(value) + next) / 2);
    ASSERT_EQ(FloatToHalf(middle), bits % 2 == 0 ? bits : bits + 1);
    ASSERT_EQ(FloatToHalf(std::nextafter(middle, value)), bits);
    ASSERT_EQ(FloatToHalf(std::nextafter(middle, static_cast<float>(next))), bits + 1);
  }
}

TEST(Dequantize, HalfOutOfRange) {
  EXPECT_EQ(FloatToHalf(65504.0f), 0x7BFF);
  EXPECT_EQ(FloatToHalf(65519.996f), 0x7BFF);
  EXPECT_EQ(FloatToHalf(65520.0f), 0x7C00);
  EXPECT_EQ(FloatToHalf(-1e30f), 0xFC00);
  EXPECT_EQ(FloatToHalf(1e-30f), 0);
  EXPECT_TRUE(std::isnan(HalfToFloat(FloatToHalf(NAN))));
}

TEST(Dequantize, Bf16IsTheUpperHalfOfAFloat) {
  EXPECT_EQ(Bf16ToFloat(0x3F80), 1.0f);
  EXPECT_EQ(FloatToBf16(1.0f), 0x3F80);
  EXPECT_EQ(FloatToBf16(1.00390625f), 0x3F80);  // 1 + 2^-8: a tie, to even.
  EXPECT_EQ(FloatToBf16(1.01171875f), 0x3F82);  // 1 + 3 * 2^-8: a tie, to even.
  EXPECT_EQ(FloatToBf16(1.004f), 0x3F81);
  EXPECT_EQ(FloatToBf16(std::numeric_limits<float>::max()), 0x7F80);
  EXPECT_TRUE(std::isnan(Bf16ToFloat(FloatToBf16(NAN))));
}

std::vector<float> Block(DType dtype, const std::vector<uint8_t>& bytes) {
  std::vector<float> out(static_cast<size_t>(TraitsOf(dtype).block_elements));
  Dequantize(dtype, bytes, absl::MakeSpan(out));
  return out;
}

TEST(Dequantize, Blocks) {
  std::vector<uint8_t> q8;
  AppendHalf(&q8, 0.5f);
  for (int i = 0; i < 32; ++i) q8.push_back(static_cast<uint8_t>(i * 8 - 128));
  const std::vector<float> eight = Block(DType::kQ8_0, q8);
  for (int i = 0; i < 32; ++i) EXPECT_EQ(eight[i], 0.5f * static_cast<float>(i * 8 - 128));

  // Byte j: low nibble j, high nibble 15 - j.
  std::vector<uint8_t> nibbles;
  for (int j = 0; j < 16; ++j) nibbles.push_back(static_cast<uint8_t>(j | (15 - j) << 4));
  std::vector<uint8_t> q4;
  AppendHalf(&q4, 2.0f);
  std::vector<uint8_t> q41 = q4;
  AppendHalf(&q41, -3.0f);
  q4.insert(q4.end(), nibbles.begin(), nibbles.end());
  q41.insert(q41.end(), nibbles.begin(), nibbles.end());
  const std::vector<float> four = Block(DType::kQ4_0, q4);
  const std::vector<float> four_one = Block(DType::kQ4_1, q41);
  for (int j = 0; j < 16; ++j) {
    EXPECT_EQ(four[j], 2.0f * static_cast<float>(j - 8));
    EXPECT_EQ(four[j + 16], 2.0f * static_cast<float>(7 - j));
    EXPECT_EQ(four_one[j], 2.0f * static_cast<float>(j) - 3.0f);
    EXPECT_EQ(four_one[j + 16], 2.0f * static_cast<float>(15 - j) - 3.0f);
  }
}

// Takes `count` numbers of a kind off the front of a file's bytes.
template <typename T>
std::vector<T> Take(std::string* file, size_t count) {
  CHECK_GE(file->size(), count * sizeof(T));
  std::vector<T> values(count);
  std::memcpy(values.data(), file->data(), count * sizeof(T));
  file->erase(0, count * sizeof(T));
  return values;
}

// Every quantised format, bit for bit as the gguf package has it: all bits of a block at random,
// all ones, all zeros, and scales at the ends of f16's range.
TEST(Dequantize, EqualsTheGgufPackage) {
  std::ifstream in("tests/golden/quant_blocks.bin", std::ios::binary);
  std::string file{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  ASSERT_EQ(file.substr(0, 8), "EBBQUAN1");
  file.erase(0, 8);
  ASSERT_EQ(Take<uint32_t>(&file, 1)[0], std::size(kBlockDTypes));
  for (const DType dtype : kBlockDTypes) {
    const DTypeTraits traits = TraitsOf(dtype);
    const std::vector<char> name = Take<char>(&file, 8);
    ASSERT_EQ(std::string(name.data()), traits.name);
    const std::vector<uint32_t> sizes = Take<uint32_t>(&file, 3);
    ASSERT_EQ(sizes[1], static_cast<uint32_t>(traits.block_bytes));
    ASSERT_EQ(sizes[2], static_cast<uint32_t>(traits.block_elements));
    const std::vector<uint8_t> bytes = Take<uint8_t>(&file, size_t{sizes[0]} * sizes[1]);
    const std::vector<float> want = Take<float>(&file, size_t{sizes[0]} * sizes[2]);
    std::vector<float> got(want.size());
    Dequantize(dtype, bytes, absl::MakeSpan(got));
    EXPECT_TRUE(SameBits(got.data(), want.data(), want.size())) << traits.name;
  }
  EXPECT_TRUE(file.empty());
}

}  // namespace
}  // namespace ebb::kernels
