// Linear layers on the CUDA library's table: matrix-vector, library and invariant forms, against
// double arithmetic.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "tests/kernels/cuda/bf16.h"
#include "tests/kernels/cuda/op_fixture.h"
#include "tests/kernels/cuda/test_seed.h"

namespace ebb::kernels::cuda {
namespace {

struct Shape {
  int rows;
  int outputs;
  int inputs;
};

// y, widened from bf16 where that is the output.
class LinearTest : public OpFixture {
 protected:
  std::vector<float> Run(const Shape& shape, const std::vector<uint16_t>& weight,
                         const std::vector<uint16_t>& x, EbbCudaLinearOutput output, bool invariant,
                         const std::vector<float>& before = {}) {
    const auto device_weight = Upload(weight);
    const auto device_x = Upload(x);
    // Only the library's product uses it.
    const bool for_library = !invariant && shape.rows > 8;
    const auto scratch =
        Poisoned<uint8_t>(for_library ? api()->linear_scratch_bytes(context()) : 0);
    const auto count = static_cast<size_t>(shape.rows) * shape.outputs;
    const auto narrow = Poisoned<uint16_t>(output == EBB_CUDA_BF16 ? count : 0);
    const auto wide = Poisoned<float>(output == EBB_CUDA_BF16 ? 0 : count);
    if (output == EBB_CUDA_F32_ACCUMULATE) wide.Upload(before);
    EbbCudaLinear op = {};
    op.weight = device_weight.data();
    op.x = device_x.data();
    op.y = output == EBB_CUDA_BF16 ? static_cast<void*>(narrow.data()) : wide.data();
    op.scratch = scratch.data();
    op.scratch_bytes = static_cast<int64_t>(scratch.size());
    op.rows = shape.rows;
    op.outputs = shape.outputs;
    op.inputs = shape.inputs;
    op.output = output;
    op.invariant = invariant ? 1 : 0;
    Expect(api()->linear(stream(), &op));
    if (output != EBB_CUDA_BF16) return Download(wide);
    std::vector<float> result;
    for (const uint16_t bits : Download(narrow)) {
      result.push_back(static_cast<float>(Bf16ToDouble(bits)));
    }
    return result;
  }

  // Tolerance: products of bf16 are exact in float32; their sum, in any order and with the tensor
  // cores' shorter alignment (at least 24 bits, truncated), errs by less than inputs / 8 + 16 units
  // of 2^-23 of the sum of magnitudes; then one rounding to bf16 where that is the output.
  void Check(const Shape& shape, EbbCudaLinearOutput output, bool invariant, base::Rng& rng) {
    SCOPED_TRACE(testing::Message()
                 << shape.rows << " rows, " << shape.outputs << " x " << shape.inputs << ", output "
                 << output << (invariant ? ", invariant" : ""));
    const auto weight = RandomBf16(rng, static_cast<size_t>(shape.outputs) * shape.inputs, 0.5);
    const auto x = RandomBf16(rng, static_cast<size_t>(shape.rows) * shape.inputs, 1.0);
    const auto before = RandomFloats(rng, static_cast<size_t>(shape.rows) * shape.outputs, 10.0);
    const std::vector<float> got = Run(shape, weight, x, output, invariant, before);
    for (int r = 0; r < shape.rows; ++r) {
      for (int o = 0; o < shape.outputs; ++o) {
        const int at = r * shape.outputs + o;
        double want = output == EBB_CUDA_F32_ACCUMULATE ? before[at] : 0;
        double magnitude = std::abs(want);
        for (int i = 0; i < shape.inputs; ++i) {
          const double term =
              Bf16ToDouble(x[r * shape.inputs + i]) * Bf16ToDouble(weight[o * shape.inputs + i]);
          want += term;
          magnitude += std::abs(term);
        }
        double tolerance = magnitude * (shape.inputs / 8.0 + 16) * std::pow(2.0, -23);
        if (output == EBB_CUDA_BF16) tolerance += std::abs(want) * kBf16Rounding;
        ASSERT_NEAR(got[at], want, tolerance) << "row " << r << " output " << o;
      }
    }
  }
};

// Equal bits, which for NaN and zeros is another thing than equal numbers.
bool SameBits(const float* a, const float* b, size_t count) {
  return std::memcmp(static_cast<const void*>(a), static_cast<const void*>(b),
                     count * sizeof(float)) == 0;
}

constexpr EbbCudaLinearOutput kOutputs[] = {EBB_CUDA_BF16, EBB_CUDA_F32, EBB_CUDA_F32_ACCUMULATE};

TEST_F(LinearTest, FewRows) {
  base::Rng rng(TestSeed(1));
  for (int rows = 1; rows <= 8; ++rows) {
    const Shape shape = {rows, static_cast<int>(rng.Between(1, 9)) * 8,
                         static_cast<int>(rng.Between(1, 200)) * 8};
    for (const EbbCudaLinearOutput output : kOutputs) {
      Check(shape, output, false, rng);
      if (HasFatalFailure()) return;
    }
  }
}

// Shapes at the edges of warps' and blocks' shares.
TEST_F(LinearTest, FewRowsEdges) {
  base::Rng rng(TestSeed(2));
  for (const Shape& shape :
       {Shape{1, 8, 8}, Shape{3, 16, 32}, Shape{8, 24, 1024}, Shape{8, 40, 1032},
        Shape{2, 16, 2040}, Shape{5, 8192, 40}, Shape{8, 8200, 264}, Shape{1, 8216, 8}}) {
    Check(shape, EBB_CUDA_F32, false, rng);
    if (HasFatalFailure()) return;
  }
}

TEST_F(LinearTest, MoreRows) {
  base::Rng rng(TestSeed(3));
  for (const Shape& shape :
       {Shape{9, 64, 64}, Shape{17, 24, 72}, Shape{100, 128, 200}, Shape{33, 8, 8}}) {
    for (const EbbCudaLinearOutput output : kOutputs) {
      Check(shape, output, false, rng);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_F(LinearTest, InvariantTiles) {
  base::Rng rng(TestSeed(4));
  for (const Shape& shape :
       {Shape{1, 8, 8}, Shape{7, 72, 136}, Shape{16, 32, 64}, Shape{17, 96, 448},
        Shape{64, 64, 200}, Shape{65, 136, 72}, Shape{130, 128, 192}}) {
    for (const EbbCudaLinearOutput output : kOutputs) {
      Check(shape, output, true, rng);
      if (HasFatalFailure()) return;
    }
  }
}

// The promise of invariant mode: alone, among others, at another place: the same bits.
TEST_F(LinearTest, AnInvariantRowDependsOnNothingElse) {
  base::Rng rng(TestSeed(5));
  const int outputs = 136;
  const int inputs = 328;
  const auto weight = RandomBf16(rng, outputs * inputs, 1.0);
  const auto row = RandomBf16(rng, inputs, 1.0);
  std::vector<float> first;
  for (const int rows : {1, 2, 15, 16, 17, 63, 64, 65, 128, 129, 150}) {
    const int place = static_cast<int>(rng.Between(0, rows - 1));
    auto x = RandomBf16(rng, static_cast<size_t>(rows) * inputs, 3.0);
    std::copy(row.begin(), row.end(), x.begin() + place * inputs);
    const std::vector<float> y =
        Run({rows, outputs, inputs}, weight, x, EBB_CUDA_F32, /*invariant=*/true);
    const std::vector<float> got(y.begin() + place * outputs, y.begin() + (place + 1) * outputs);
    if (first.empty()) first = got;
    ASSERT_TRUE(SameBits(first.data(), got.data(), outputs)) << "row " << place << " of " << rows;
  }
}

// Without it, still: a row of few does not depend on how many they are.
TEST_F(LinearTest, OneOfFewRowsDependsOnNothingElse) {
  base::Rng rng(TestSeed(6));
  const int outputs = 40;
  const int inputs = 1336;
  const auto weight = RandomBf16(rng, outputs * inputs, 1.0);
  auto x = RandomBf16(rng, 8 * inputs, 1.0);
  const std::vector<float> all = Run({8, outputs, inputs}, weight, x, EBB_CUDA_F32, false);
  for (int rows = 7; rows >= 1; --rows) {
    x.resize(rows * inputs);
    const std::vector<float> got = Run({rows, outputs, inputs}, weight, x, EBB_CUDA_F32, false);
    EXPECT_TRUE(SameBits(all.data(), got.data(), got.size())) << rows;
  }
}

TEST_F(LinearTest, TellsWhatItDoesNotServe) {
  const auto memory = Poisoned<uint16_t>(4096);
  EbbCudaLinear good = {};
  good.weight = good.x = memory.data();
  good.y = memory.data();
  good.rows = 1;
  good.outputs = good.inputs = 8;
  const auto refused = [&](const char* text, auto change) {
    EbbCudaLinear op = good;
    change(op);
    ExpectInvalid(api()->linear(stream(), &op), text);
  };
  refused("multiple of 8", [](auto& op) { op.outputs = 12; });
  refused("multiple of 8", [](auto& op) { op.inputs = 0; });
  refused("output type", [](auto& op) { op.output = static_cast<EbbCudaLinearOutput>(3); });
  refused("null", [](auto& op) { op.weight = nullptr; });
  refused("16 bytes", [&](auto& op) { op.x = memory.data() + 4; });
  refused("scratch", [&](auto& op) {
    op.scratch = reinterpret_cast<uint8_t*>(memory.data()) + 16;
    op.scratch_bytes = 16;
  });
  refused("sm_target", [](auto& op) { op.sm_target = -1; });
  refused("rows", [](auto& op) { op.rows = -1; });
  ExpectInvalid(api()->linear(stream(), nullptr), "null");
}

}  // namespace
}  // namespace ebb::kernels::cuda
