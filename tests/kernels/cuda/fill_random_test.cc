// Random weights made by the device are those of model/random_weights.h, bit for bit.
#include <cmath>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "model/random_weights.h"
#include "tests/kernels/cuda/bf16.h"
#include "tests/kernels/cuda/op_fixture.h"

namespace ebb::kernels::cuda {
namespace {

class FillRandomTest : public OpFixture {
 protected:
  std::vector<uint16_t> Run(int64_t count, uint64_t first_index, uint64_t seed, float scale) {
    const auto out = Poisoned<uint16_t>(count);
    const EbbCudaFillRandom op = {out.data(), count, first_index, seed, scale};
    Expect(api()->fill_random(stream(), &op));
    return Download(out);
  }
};

TEST_F(FillRandomTest, IsTheHostsFunction) {
  for (const int64_t count : {1, 7, 8, 9, 2047, 2048, 2049, 5001}) {
    for (const uint64_t first : {uint64_t{0}, uint64_t{12345}, uint64_t{1} << 40}) {
      const std::vector<uint16_t> got = Run(count, first, 99 + first, 0.02f);
      for (int64_t i = 0; i < count; ++i) {
        ASSERT_EQ(got[i], model::RandomWeightBf16(99 + first, first + i, 0.02f))
            << count << " from " << first << " at " << i;
      }
    }
  }
}

TEST_F(FillRandomTest, CoversItsRangeEvenly) {
  const int count = 20000;
  const std::vector<uint16_t> got = Run(count, 0, 7, 3.0f);
  double sum = 0, squares = 0, largest = 0;
  for (const uint16_t bits : got) {
    const double value = Bf16ToDouble(bits);
    sum += value;
    squares += value * value;
    largest = std::max(largest, std::abs(value));
  }
  // Uniform in [-3, 3): mean 0 with a standard error of 3 / sqrt(3 * count) = 0.012, mean square 3.
  EXPECT_NEAR(sum / count, 0, 0.06);
  EXPECT_NEAR(squares / count, 3, 0.1);
  EXPECT_LE(largest, 3.0);
  EXPECT_GT(largest, 2.9);
}

TEST_F(FillRandomTest, TellsWhatItDoesNotServe) {
  const auto memory = Poisoned<uint16_t>(64);
  EbbCudaFillRandom op = {memory.data(), -1, 0, 0, 1.0f};
  ExpectInvalid(api()->fill_random(stream(), &op), "count");
  op = {nullptr, 1, 0, 0, 1.0f};
  ExpectInvalid(api()->fill_random(stream(), &op), "null");
  op = {memory.data() + 1, 1, 0, 0, 1.0f};
  ExpectInvalid(api()->fill_random(stream(), &op), "16 bytes");
  op = {nullptr, 0, 0, 0, 1.0f};
  Expect(api()->fill_random(stream(), &op));
}

}  // namespace
}  // namespace ebb::kernels::cuda
