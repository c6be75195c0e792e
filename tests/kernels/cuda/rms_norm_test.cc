// RMSNorm on the CUDA library's table, against double arithmetic.
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "tests/kernels/cuda/bf16.h"
#include "tests/kernels/cuda/op_fixture.h"
#include "tests/kernels/cuda/test_seed.h"

namespace ebb::kernels::cuda {
namespace {

constexpr float kEpsilon = 1e-5f;

class RmsNormTest : public OpFixture {
 protected:
  std::vector<uint16_t> Run(const std::vector<float>& x, const std::vector<float>& weight,
                            const std::vector<int32_t>& gather, int rows) {
    const auto device_x = Upload(x);
    const auto device_weight = Upload(weight);
    const auto device_gather = Upload(gather);
    const auto out = Poisoned<uint16_t>(static_cast<size_t>(rows) * weight.size());
    const EbbCudaRmsNorm op = {device_x.data(),
                               device_weight.data(),
                               gather.empty() ? nullptr : device_gather.data(),
                               out.data(),
                               rows,
                               static_cast<int32_t>(weight.size()),
                               kEpsilon};
    Expect(api()->rms_norm(stream(), &op));
    return Download(out);
  }
};

// Tolerance: the rounding to bf16, and of the float32 steps before it at most 12 roundings and a
// sum whose relative error stays below (width / 256 + 16) * 2^-24, all far below 1e-5.
void ExpectNormed(const std::vector<uint16_t>& got, const std::vector<float>& x,
                  const std::vector<float>& weight, const std::vector<int32_t>& rows) {
  const size_t width = weight.size();
  for (size_t r = 0; r < rows.size(); ++r) {
    const float* row = &x[rows[r] * width];
    double sum = 0;
    for (size_t i = 0; i < width; ++i) sum += double{row[i]} * row[i];
    const double scale = 1 / std::sqrt(sum / static_cast<double>(width) + kEpsilon);
    for (size_t i = 0; i < width; ++i) {
      const double want = row[i] * scale * weight[i];
      ASSERT_NEAR(Bf16ToDouble(got[r * width + i]), want,
                  std::abs(want) * (kBf16Rounding + 1e-5) + 1e-38)
          << "width " << width << " row " << r << " column " << i;
    }
  }
}

TEST_F(RmsNormTest, NormsRowsOfAnyWidth) {
  base::Rng rng(TestSeed(1));
  for (const int width : {8, 64, 576, 2048, 4096, 8192, 8200, 10000}) {
    const int rows = static_cast<int>(rng.Between(1, 4));
    const auto x =
        RandomFloats(rng, static_cast<size_t>(rows) * width, std::exp(rng.Unit() * 8 - 4));
    const auto weight = RandomFloats(rng, width, 1.0);
    std::vector<int32_t> all(rows);
    for (int r = 0; r < rows; ++r) all[r] = r;
    ExpectNormed(Run(x, weight, {}, rows), x, weight, all);
  }
}

TEST_F(RmsNormTest, GathersRows) {
  base::Rng rng(TestSeed(2));
  const int width = 136;
  const auto x = RandomFloats(rng, 9 * width, 2.0);
  const auto weight = RandomFloats(rng, width, 1.0);
  const std::vector<int32_t> gather = {8, 0, 3, 3};
  ExpectNormed(Run(x, weight, gather, 4), x, weight, gather);
}

TEST_F(RmsNormTest, ARowDoesNotDependOnItsPlace) {
  base::Rng rng(TestSeed(3));
  const int width = 2304;
  const auto x = RandomFloats(rng, 5 * width, 2.0);
  const auto weight = RandomFloats(rng, width, 1.0);
  const std::vector<uint16_t> alone = Run(x, weight, {4}, 1);
  const std::vector<uint16_t> among = Run(x, weight, {0, 1, 2, 3, 4}, 5);
  EXPECT_TRUE(std::equal(alone.begin(), alone.end(), among.begin() + 4 * width));
}

TEST_F(RmsNormTest, KeepsNanWithinItsRow) {
  base::Rng rng(TestSeed(4));
  const int width = 64;
  auto x = RandomFloats(rng, 2 * width, 1.0);
  x[5] = NAN;
  const auto weight = RandomFloats(rng, width, 1.0);
  const std::vector<uint16_t> got = Run(x, weight, {}, 2);
  for (int i = 0; i < width; ++i) {
    EXPECT_TRUE(std::isnan(Bf16ToDouble(got[i])));
    EXPECT_FALSE(std::isnan(Bf16ToDouble(got[width + i])));
  }
}

TEST_F(RmsNormTest, TellsWhatItDoesNotServe) {
  const auto x = Poisoned<float>(16);
  const auto out = Poisoned<uint16_t>(16);
  const EbbCudaRmsNorm good = {x.data(), x.data(), nullptr, out.data(), 1, 8, kEpsilon};
  EbbCudaRmsNorm op = good;
  op.width = 0;
  ExpectInvalid(api()->rms_norm(stream(), &op), "width");
  op = good;
  op.weight = nullptr;
  ExpectInvalid(api()->rms_norm(stream(), &op), "null");
  op = good;
  op.out = out.data() + 4;
  ExpectInvalid(api()->rms_norm(stream(), &op), "16 bytes");
  ExpectInvalid(api()->rms_norm(stream(), nullptr), "null");
}

}  // namespace
}  // namespace ebb::kernels::cuda
