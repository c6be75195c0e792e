// Every operation of every fast path that this host can run, against the reference.
#include <cmath>
#include <deque>

#include "tests/kernels/kernel_test_util.h"

namespace ebb::kernels {
namespace {

constexpr double kFloatEpsilon = 0x1p-24;

class BackendTest : public ::testing::TestWithParam<std::string> {
 protected:
  BackendTest() : backend_(MakeOrDie(GetParam(), 2)), reference_(MakeOrDie("reference", 1)) {}

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Backend> reference_;
};

INSTANTIATE_TEST_SUITE_P(Paths, BackendTest, ::testing::ValuesIn(FastPaths()));

// How far one output of a matrix product may be from the exact one.
//
// Block formats: an activation is rounded to a multiple of d = max/32512 of its block, and may then
// be moved by one more d, so that it errs by at most 1.5 d (and a little, for d and its inverse are
// rounded): times the sum of the weights' magnitudes. Both kinds: a chain of n float operations on
// terms of size t errs by at most n * 2^-24 * sum(t).
double MatmulBound(const TestMatrix& matrix, const double* x, int64_t output) {
  const bool plain = TraitsOf(matrix.dtype).block_elements == 1;
  double rounding = 0;
  double terms = 0;
  for (int64_t b = 0; b < matrix.columns; b += plain ? matrix.columns : 32) {
    const int64_t end = plain ? matrix.columns : b + 32;
    double largest = 0;
    double weights = 0;
    for (int64_t k = b; k < end; ++k) {
      largest = std::max(largest, std::fabs(x[k]));
      weights += std::fabs(matrix.values[output * matrix.columns + k]);
      terms += std::fabs(x[k]) * matrix.term_sizes[output * matrix.columns + k];
    }
    rounding += 1.5 * largest / 32512 * weights;
  }
  const double operations =
      plain
          ? static_cast<double>(matrix.columns) + 4
          : static_cast<double>(matrix.columns) / QuantTraitsOf(matrix.dtype).sub_elements * 3 + 40;
  return (plain ? 0 : rounding * 1.001) + operations * kFloatEpsilon * terms + 1e-30;
}

// The rows that the reference multiplies, as doubles. 4 more roundings for the norm.
std::vector<double> Normed(const std::vector<float>& x, int64_t columns, const RmsNorm& norm) {
  std::vector<double> out(x.begin(), x.end());
  if (norm.weight == nullptr) return out;
  for (size_t r = 0; r < out.size() / static_cast<size_t>(columns); ++r) {
    double squares = 0;
    double* row = out.data() + r * static_cast<size_t>(columns);
    for (int64_t k = 0; k < columns; ++k) squares += row[k] * row[k];
    const double scale = 1 / std::sqrt(squares / static_cast<double>(columns) + norm.epsilon);
    for (int64_t k = 0; k < columns; ++k) row[k] *= scale * norm.weight[k];
  }
  return out;
}

struct LinearCase {
  int64_t outputs;
  int64_t columns;
  int32_t rows;
};

TEST_P(BackendTest, LinearAgreesWithTheReference) {
  base::Rng rng(TestSeed(1));
  const LinearCase cases[] = {{16, 32, 1},   {1, 32, 1},    {17, 64, 2},
                              {33, 96, 5},   {64, 576, 16}, {100, 64, 17},
                              {15, 160, 33}, {48, 32, 100}, {300, 256, 3}};
  for (DType dtype : kAllDTypes) {
    for (const LinearCase& shape : cases) {
      // Plain formats take any column count.
      const int64_t columns = TraitsOf(dtype).block_elements == 1
                                  ? shape.columns - 5
                                  : WholeBlocks(dtype, shape.columns);
      const TestMatrix matrix = RandomMatrix(&rng, dtype, shape.outputs, columns);
      const auto weight = LoadOrDie(backend_.get(), matrix);
      EXPECT_EQ(weight->rows(), shape.outputs);
      EXPECT_EQ(weight->columns(), columns);
      const std::vector<float> x =
          RandomFloats(&rng, static_cast<size_t>(shape.rows * columns), 3.0f);
      const std::vector<float> norm_weight = RandomFloats(&rng, static_cast<size_t>(columns), 2.0f);
      for (const bool normed : {false, true}) {
        for (const bool accumulate : {false, true}) {
          SCOPED_TRACE(testing::Message()
                       << TraitsOf(dtype).name << " " << shape.outputs << "x" << columns << " rows "
                       << shape.rows << " norm " << normed << " accumulate " << accumulate);
          const RmsNorm norm{normed ? norm_weight.data() : nullptr, 1e-5f};
          Guarded<uint8_t> scratch(backend_->ScratchBytes(shape.rows, columns));
          Guarded<float> y(static_cast<size_t>(shape.rows * shape.outputs));
          if (accumulate) std::fill(y.data(), y.data() + y.size(), 0.5f);
          const LinearOutput output{weight.get(), y.data(), accumulate};
          backend_->Linear({Lane::kPrefill, scratch.span()}, x.data(), shape.rows, norm,
                           {&output, 1});
          const std::vector<double> rows = Normed(x, columns, norm);
          for (int32_t r = 0; r < shape.rows; ++r) {
            const double* row = rows.data() + r * columns;
            for (int64_t o = 0; o < shape.outputs; ++o) {
              double want = accumulate ? 0.5 : 0.0;
              for (int64_t k = 0; k < columns; ++k) want += row[k] * matrix.values[o * columns + k];
              ASSERT_NEAR(y[r * shape.outputs + o], want,
                          MatmulBound(matrix, row, o) + (accumulate ? 1e-7 : 0))
                  << "row " << r << " output " << o;
            }
          }
        }
      }
    }
  }
}

TEST_P(BackendTest, SeveralMatricesOfDifferentFormatsAtOnce) {
  base::Rng rng(TestSeed(3));
  constexpr int64_t kColumns = 256;
  constexpr int32_t kRows = 21;
  std::vector<TestMatrix> matrices;
  for (DType dtype : kAllDTypes) {
    matrices.push_back(RandomMatrix(&rng, dtype, rng.Between(1, 90), kColumns));
  }
  std::vector<std::unique_ptr<Matrix>> weights;
  std::deque<Guarded<float>> together;
  std::vector<LinearOutput> outputs;
  for (const TestMatrix& matrix : matrices) {
    weights.push_back(LoadOrDie(backend_.get(), matrix));
    together.emplace_back(static_cast<size_t>(kRows * matrix.rows));
    outputs.push_back({weights.back().get(), together.back().data(), false});
  }
  const std::vector<float> x = RandomFloats(&rng, kRows * kColumns, 1.0f);
  Guarded<uint8_t> scratch(backend_->ScratchBytes(kRows, kColumns));
  backend_->Linear({Lane::kPrefill, scratch.span()}, x.data(), kRows, {}, outputs);
  for (size_t i = 0; i < matrices.size(); ++i) {
    Guarded<float> alone(together[i].size());
    const LinearOutput output{weights[i].get(), alone.data(), false};
    backend_->Linear({Lane::kPrefill, scratch.span()}, x.data(), kRows, {}, {&output, 1});
    EXPECT_TRUE(SameBits(alone.data(), together[i].data(), alone.size()))
        << TraitsOf(matrices[i].dtype).name;
  }
}

TEST_P(BackendTest, SwiGluIsSiluOfGateTimesUp) {
  base::Rng rng(TestSeed(4));
  constexpr int64_t kColumns = 256;
  for (DType dtype : kAllDTypes) {
    for (const int64_t outputs : {1, 16, 50}) {
      for (const int32_t row_count : {1, 18}) {
        const TestMatrix gate = RandomMatrix(&rng, dtype, outputs, kColumns);
        const TestMatrix up = RandomMatrix(&rng, dtype, outputs, kColumns);
        const auto gate_weight = LoadOrDie(backend_.get(), gate);
        const auto up_weight = LoadOrDie(backend_.get(), up);
        const std::vector<float> x =
            RandomFloats(&rng, static_cast<size_t>(row_count) * kColumns, 30.0f);
        Guarded<uint8_t> scratch(backend_->ScratchBytes(row_count, kColumns));
        const auto size = static_cast<size_t>(row_count * outputs);
        Guarded<float> y(size);
        Guarded<float> g(size);
        Guarded<float> u(size);
        const OpContext context{Lane::kDecode, scratch.span()};
        backend_->SwiGlu(context, x.data(), row_count, {}, *gate_weight, *up_weight, y.data());
        const LinearOutput parts[] = {{gate_weight.get(), g.data(), false},
                                      {up_weight.get(), u.data(), false}};
        backend_->Linear(context, x.data(), row_count, {}, parts);
        // The products are Linear's own, bit for bit; exp errs by 3e-7, the quotient and the
        // product by a rounding each. Where exp leaves the floats, what is left is below 1e-36.
        for (size_t i = 0; i < size; ++i) {
          const double exact = g[i] / (1 + std::exp(-static_cast<double>(g[i]))) * u[i];
          ASSERT_NEAR(y[i], exact, std::fabs(exact) * 6e-7 + 1e-36 * std::fabs(g[i] * u[i]));
        }
      }
    }
  }
}

TEST_P(BackendTest, EmbedGivesTheFilesFloats) {
  base::Rng rng(TestSeed(5));
  constexpr int64_t kColumns = 256;
  for (DType dtype : kAllDTypes) {
    const TestMatrix matrix = RandomMatrix(&rng, dtype, 37, kColumns);
    const auto table = LoadOrDie(backend_.get(), matrix);
    const std::vector<int32_t> ids = {0, 36, 16, 15, 17, 3, 36};
    Guarded<float> out(ids.size() * kColumns);
    backend_->Embed({Lane::kPrefill, {}}, *table, ids, out.data());
    for (size_t r = 0; r < ids.size(); ++r) {
      EXPECT_TRUE(
          SameBits(out.data() + r * kColumns, matrix.values.data() + ids[r] * kColumns, kColumns))
          << TraitsOf(dtype).name;
    }
  }
}

// What is not finite, or nearly not, stays in its own row.
TEST_P(BackendTest, HostileActivationsStayInTheirRow) {
  base::Rng rng(TestSeed(9));
  constexpr int64_t kColumns = 256;
  const float hostile[] = {NAN, INFINITY, -INFINITY, 1e37f, 1e-44f, 0.0f};
  constexpr int32_t kRows = 12;
  for (DType dtype : kAllDTypes) {
    const TestMatrix matrix = RandomMatrix(&rng, dtype, 20, kColumns);
    const auto weight = LoadOrDie(backend_.get(), matrix);
    const std::vector<float> ones(kColumns, 1.0f);
    const std::vector<float> clean = RandomFloats(&rng, kRows * kColumns, 1.0f);
    std::vector<float> x = clean;
    for (int i = 0; i < 6; ++i) {
      // Every second row: one bad element among good ones, or for the small ones nothing else.
      for (int64_t k = 0; k < kColumns; ++k) {
        if (k == 5 || i >= 4) x[(2 * i) * kColumns + k] = hostile[i];
      }
    }
    for (const bool normed : {false, true}) {
      const RmsNorm norm{normed ? ones.data() : nullptr, 1e-5f};
      Guarded<uint8_t> scratch(backend_->ScratchBytes(kRows, kColumns));
      Guarded<float> y(kRows * 20);
      Guarded<float> want(kRows * 20);
      const LinearOutput dirty_output{weight.get(), y.data(), false};
      const LinearOutput clean_output{weight.get(), want.data(), false};
      const OpContext context{Lane::kDecode, scratch.span()};
      backend_->Linear(context, x.data(), kRows, norm, {&dirty_output, 1});
      backend_->Linear(context, clean.data(), kRows, norm, {&clean_output, 1});
      for (int r = 0; r < kRows; ++r) {
        SCOPED_TRACE(testing::Message() << TraitsOf(dtype).name << " row " << r);
        if (r % 2 == 1) {
          EXPECT_TRUE(SameBits(y.data() + r * 20, want.data() + r * 20, 20));
          continue;
        }
        for (int o = 0; o < 20; ++o) {
          const float value = y[r * 20 + o];
          if (r == 0) {
            EXPECT_TRUE(std::isnan(value));
          } else if (r <= 4) {
            // An infinity: infinite or NaN (with a norm, infinity times zero), never a number.
            EXPECT_FALSE(std::isfinite(value) && !normed);
          } else {
            EXPECT_TRUE(std::isfinite(value));
          }
          if (r >= 10) {
            EXPECT_EQ(value, 0.0f);
          }
        }
      }
    }
  }
}

TEST_P(BackendTest, RefusesScalesThatAreNotFinite) {
  base::Rng rng(TestSeed(10));
  for (DType dtype : kAllDTypes) {
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
      TestMatrix matrix = RandomMatrix(&rng, dtype, 20, 256);
      std::vector<uint8_t> bits;
      if (dtype == DType::kF32) {
        bits.resize(4);
        std::memcpy(bits.data(), &bad, 4);
      } else if (dtype == DType::kBF16) {
        bits = {static_cast<uint8_t>(FloatToBf16(bad)),
                static_cast<uint8_t>(FloatToBf16(bad) >> 8)};
      } else {
        AppendHalf(&bits, bad);
      }
      const auto block_bytes = static_cast<size_t>(TraitsOf(dtype).block_bytes);
      for (const size_t place : ScalePlaces(dtype)) {
        TestMatrix broken = matrix;
        const size_t at = broken.bytes.size() - block_bytes + place;
        std::copy(bits.begin(), bits.end(), broken.bytes.begin() + static_cast<long>(at));
        const auto loaded = backend_->LoadMatrix(broken.source());
        ASSERT_FALSE(loaded.ok()) << TraitsOf(dtype).name;
        EXPECT_EQ(loaded.status().code(), absl::StatusCode::kInvalidArgument);
        EXPECT_NE(loaded.status().message().find("row 19"), std::string::npos);
      }
      EXPECT_TRUE(backend_->LoadMatrix(matrix.source()).ok());
    }
  }
}

TEST_P(BackendTest, RefusesBytesThatDoNotFitTheShape) {
  base::Rng rng(TestSeed(11));
  TestMatrix matrix = RandomMatrix(&rng, DType::kQ4_1, 4, 64);
  MatrixSource source = matrix.source();
  source.bytes.remove_suffix(1);
  EXPECT_FALSE(backend_->LoadMatrix(source).ok());
  source = matrix.source();
  source.columns = 33;
  EXPECT_FALSE(backend_->LoadMatrix(source).ok());
  TestMatrix wide = RandomMatrix(&rng, DType::kQ6_K, 8, 256);
  source = wide.source();
  source.rows = 64;
  source.columns = 32;  // As many weights, but no whole blocks.
  EXPECT_FALSE(backend_->LoadMatrix(source).ok());
  source = matrix.source();
  source.columns = INT64_MAX / 32 * 32;
  source.rows = INT64_MAX;
  EXPECT_FALSE(backend_->LoadMatrix(source).ok());
  source.rows = 0;
  EXPECT_FALSE(backend_->LoadMatrix(source).ok());
  source.rows = -4;
  EXPECT_FALSE(backend_->LoadMatrix(source).ok());
}

}  // namespace
}  // namespace ebb::kernels
