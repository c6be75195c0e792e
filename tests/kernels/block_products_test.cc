// The products of a block are exact integers, in every block format and every fast path.
#include <cmath>

#include "tests/kernels/kernel_test_util.h"

namespace ebb::kernels {
namespace {

constexpr double kFloatEpsilon = 0x1p-24;

class BlockProductsTest : public ::testing::TestWithParam<std::string> {
 protected:
  BlockProductsTest() : backend_(MakeOrDie(GetParam(), 2)) {}

  std::unique_ptr<Backend> backend_;
};

INSTANTIATE_TEST_SUITE_P(Paths, BlockProductsTest, ::testing::ValuesIn(FastPaths()));

// What a block is made of: d is 1, the rest whole numbers. Scales count only for the
// formats that have them.
struct BlockParts {
  float m = 0;
  std::vector<int> scales = std::vector<int>(kQuantSubBlocksMax, 1);
  std::vector<int> minimums = std::vector<int>(kQuantSubBlocksMax, 1);
};

void AppendBlock(DType dtype, const BlockParts& parts, const std::vector<uint8_t>& code_bytes,
                 std::vector<uint8_t>* bytes) {
  const bool is_6 = dtype == DType::kQ6_K;
  if (!is_6) AppendHalf(bytes, 1.0f);
  if (QuantTraitsOf(dtype).has_minimum) AppendHalf(bytes, parts.m);
  if (QuantTraitsOf(dtype).has_scales && !is_6) {
    for (int i = 0; i < 4; ++i) bytes->push_back(static_cast<uint8_t>(parts.scales[i]));
    for (int i = 0; i < 4; ++i) bytes->push_back(static_cast<uint8_t>(parts.minimums[i]));
    for (int i = 4; i < 8; ++i) {
      bytes->push_back(static_cast<uint8_t>(parts.scales[i] | parts.minimums[i] << 4));
    }
  }
  bytes->insert(bytes->end(), code_bytes.begin(), code_bytes.end());
  if (!is_6) return;
  for (int i = 0; i < 16; ++i) bytes->push_back(static_cast<uint8_t>(parts.scales[i]));
  AppendHalf(bytes, 1.0f);
}

size_t CodeBytes(DType dtype) {
  return static_cast<size_t>(TraitsOf(dtype).block_elements * QuantTraitsOf(dtype).bits / 8);
}

std::vector<float> Multiply(Backend* backend, TestMatrix* matrix, const std::vector<float>& x,
                            int32_t row_count) {
  matrix->values.resize(static_cast<size_t>(matrix->rows * matrix->columns));
  Dequantize(matrix->dtype, matrix->bytes, absl::MakeSpan(matrix->values));
  const auto weight = LoadOrDie(backend, *matrix);
  Guarded<uint8_t> scratch(backend->ScratchBytes(row_count, matrix->columns));
  Guarded<float> y(static_cast<size_t>(row_count * matrix->rows));
  const LinearOutput output{weight.get(), y.data(), false};
  backend->Linear({Lane::kDecode, scratch.span()}, x.data(), row_count, {}, {&output, 1});
  return {y.data(), y.data() + y.size()};
}

// All largest, all smallest, mixed codes: 16-bit sums that saturate would show.
TestMatrix ExtremeMatrix(base::Rng* rng, DType dtype, int extreme, int64_t rows, int64_t columns) {
  TestMatrix matrix{dtype, rows, columns, {}, {}, {}};
  for (int64_t b = 0; b < rows * columns / TraitsOf(dtype).block_elements; ++b) {
    BlockParts parts;
    parts.m = static_cast<float>(rng->Between(-9, 9));
    for (int i = 0; i < kQuantSubBlocksMax; ++i) {
      parts.scales[i] = static_cast<int>(rng->Between(dtype == DType::kQ6_K ? -12 : 0, 12));
      parts.minimums[i] = static_cast<int>(rng->Between(0, 9));
    }
    std::vector<uint8_t> codes;
    for (size_t i = 0; i < CodeBytes(dtype); ++i) {
      const uint8_t all[] = {static_cast<uint8_t>(dtype == DType::kQ8_0 ? 0x7F : 0xFF),
                             static_cast<uint8_t>(dtype == DType::kQ8_0 ? 0x80 : 0x00),
                             static_cast<uint8_t>(rng->Bits()), static_cast<uint8_t>(rng->Bits())};
      codes.push_back(all[extreme]);
    }
    AppendBlock(dtype, parts, codes, &matrix.bytes);
  }
  return matrix;
}

// Activations that int16 holds exactly: a block's largest is 127, so that d is 1 / 256. Whole ones
// leave the low plane empty, and all sums are exact: at most 256 * 127 * (31 * 12 + 9 * 9) < 2^24.
// A fraction of 127 / 256 fills it with its largest, and sums of up to 2^31 are rounded to floats;
// then two float operations for each sub-block and two more.
TEST_P(BlockProductsTest, AreTheExactIntegerSums) {
  base::Rng rng(TestSeed(2));
  constexpr int64_t kOutputs = 48;
  constexpr int32_t kRows = 19;
  for (DType dtype : kBlockDTypes) {
    const int64_t columns = WholeBlocks(dtype, 96);
    const double operations =
        static_cast<double>(columns) / QuantTraitsOf(dtype).sub_elements * 2 + 2;
    for (int pattern = 0; pattern < 8; ++pattern) {
      const int extreme = pattern / 2;
      const float fraction = pattern % 2 == 0 ? 0.0f : 127.0f / 256;
      TestMatrix matrix = ExtremeMatrix(&rng, dtype, extreme, kOutputs, columns);
      std::vector<float> x(static_cast<size_t>(kRows * columns));
      for (size_t i = 0; i < x.size(); ++i) {
        x[i] = static_cast<float>(extreme == 3 ? rng.Between(-126, 126) : 126) + fraction;
        if (extreme == 1 && rng.Chance(0.01)) x[i] = -126 - fraction;
        if (i % 32 == 7) x[i] = rng.Chance(0.5) && extreme == 3 ? -127.0f : 127.0f;
      }
      const std::vector<float> y = Multiply(backend_.get(), &matrix, x, kRows);
      for (int32_t r = 0; r < kRows; ++r) {
        for (int64_t o = 0; o < kOutputs; ++o) {
          double want = 0;
          double terms = 0;
          for (int64_t k = 0; k < columns; ++k) {
            const double term = static_cast<double>(x[r * columns + k]) *
                                static_cast<double>(matrix.values[o * columns + k]);
            want += term;
            terms += std::fabs(term);
          }
          const double bound = fraction == 0 ? 0 : operations * kFloatEpsilon * terms;
          ASSERT_LE(std::fabs(y[r * kOutputs + o] - want), bound)
              << TraitsOf(dtype).name << " pattern " << pattern << " row " << r << " output " << o;
        }
      }
    }
  }
}

// Both planes of the activations: multiples of 1/256 up to 127, with 127 in each block, so that d
// is 1/256 and nothing is rounded. Only one sub-block of each output counts, so that its integer is
// turned into a float once and nothing is added to it.
TEST_P(BlockProductsTest, BothPlanesOfTheActivationsAreExact) {
  base::Rng rng(TestSeed(12));
  constexpr int64_t kOutputs = 40;
  constexpr int32_t kRows = 21;
  for (DType dtype : kBlockDTypes) {
    const int64_t columns = TraitsOf(dtype).block_elements;
    TestMatrix matrix{dtype, kOutputs, columns, {}, {}, {}};
    for (int64_t o = 0; o < kOutputs; ++o) {
      BlockParts parts;
      std::fill(parts.scales.begin(), parts.scales.end(), 0);
      parts.scales[o % (columns / QuantTraitsOf(dtype).sub_elements)] = 1;
      std::vector<uint8_t> codes(CodeBytes(dtype));
      for (uint8_t& byte : codes) byte = static_cast<uint8_t>(rng.Bits());
      AppendBlock(dtype, parts, codes, &matrix.bytes);
    }
    std::vector<int32_t> units(static_cast<size_t>(kRows * columns));
    std::vector<float> x(units.size());
    for (size_t i = 0; i < units.size(); ++i) {
      units[i] = static_cast<int32_t>(rng.Between(-32512, 32512));
      if ((units[i] + 128) % 256 == 0) ++units[i];  // A low plane of -128 is rounded to -127.
      if (i % 32 == 9) units[i] = 32512;
      x[i] = static_cast<float>(units[i]) / 256;
    }
    const std::vector<float> y = Multiply(backend_.get(), &matrix, x, kRows);
    for (int32_t r = 0; r < kRows; ++r) {
      for (int64_t o = 0; o < kOutputs; ++o) {
        int64_t want = 0;
        for (int64_t k = 0; k < columns; ++k) {
          want += units[r * columns + k] * static_cast<int64_t>(matrix.values[o * columns + k]);
        }
        ASSERT_EQ(y[r * kOutputs + o], static_cast<float>(want) / 256)
            << TraitsOf(dtype).name << " row " << r << " output " << o;
      }
    }
  }
}

}  // namespace
}  // namespace ebb::kernels
