// SwiGLU on the CUDA library's table, against double arithmetic.
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

class SwiGluTest : public OpFixture {
 protected:
  std::vector<uint16_t> Run(const std::vector<uint16_t>& gate_up, int rows, int width) {
    const auto device = Upload(gate_up);
    const auto out = Poisoned<uint16_t>(static_cast<size_t>(rows) * width);
    const EbbCudaSwiGlu op = {device.data(), out.data(), rows, width};
    Expect(api()->swiglu(stream(), &op));
    return Download(out);
  }
};

TEST_F(SwiGluTest, GatesRowsOfAnyWidth) {
  base::Rng rng(TestSeed(1));
  for (const int width : {8, 64, 1536, 2048, 2056, 5632}) {
    const int rows = static_cast<int>(rng.Between(1, 4));
    const auto gate_up = RandomBf16(rng, static_cast<size_t>(rows) * 2 * width, 4.0);
    const std::vector<uint16_t> got = Run(gate_up, rows, width);
    for (int r = 0; r < rows; ++r) {
      for (int i = 0; i < width; ++i) {
        const double gate = Bf16ToDouble(gate_up[r * 2 * width + i]);
        const double up = Bf16ToDouble(gate_up[r * 2 * width + width + i]);
        const double want = gate / (1 + std::exp(-gate)) * up;
        // The rounding to bf16, and of the float32 steps the fast exponential's relative error:
        // 2 units and 1.2 |x| units of 2^-23 (CUDA C++ programming guide), |x| below 50 here.
        ASSERT_NEAR(Bf16ToDouble(got[r * width + i]), want,
                    std::abs(want) * (kBf16Rounding + 1e-5) + 1e-38)
            << "width " << width << " row " << r << " column " << i;
      }
    }
  }
}

TEST_F(SwiGluTest, EndsOfTheRange) {
  const double values[8] = {-1e30, -200, -88, 0, 88, 200, 1e30, NAN};
  std::vector<uint16_t> gate_up(16);
  for (int i = 0; i < 8; ++i) {
    gate_up[i] = std::isnan(values[i]) ? 0x7FFF : DoubleToBf16(values[i]);
    gate_up[8 + i] = DoubleToBf16(2);
  }
  const std::vector<uint16_t> got = Run(gate_up, 1, 8);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Bf16ToDouble(got[i]), 0) << i;
  EXPECT_NEAR(Bf16ToDouble(got[2]), 0, 1e-35);
  EXPECT_EQ(Bf16ToDouble(got[3]), 0);
  for (int i = 4; i < 7; ++i) {
    EXPECT_EQ(Bf16ToDouble(got[i]), 2 * Bf16ToDouble(gate_up[i])) << i;
  }
  EXPECT_TRUE(std::isnan(Bf16ToDouble(got[7])));
}

TEST_F(SwiGluTest, TellsWhatItDoesNotServe) {
  const auto memory = Poisoned<uint16_t>(64);
  const EbbCudaSwiGlu good = {memory.data(), memory.data(), 1, 8};
  EbbCudaSwiGlu op = good;
  op.ffn_width = 9;
  ExpectInvalid(api()->swiglu(stream(), &op), "ffn_width");
  op = good;
  op.out = nullptr;
  ExpectInvalid(api()->swiglu(stream(), &op), "null");
  op = good;
  op.gate_up = memory.data() + 1;
  ExpectInvalid(api()->swiglu(stream(), &op), "16 bytes");
  ExpectInvalid(api()->swiglu(stream(), nullptr), "null");
}

}  // namespace
}  // namespace ebb::kernels::cuda
