#include "model/model_config.h"

#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace ebb::model {
namespace {

// transformers works in float32 and rounds some times on the way: relative 2^-24 each.
constexpr double kTolerance = 1e-6;

void ExpectFrequencies(const std::vector<float>& got,
                       const std::vector<std::pair<int, double>>& want) {
  for (const auto& [pair, frequency] : want) {
    EXPECT_NEAR(got[static_cast<size_t>(pair)] / frequency, 1, kTolerance) << "pair " << pair;
  }
}

RopeScaling Llama3(double factor) {
  RopeScaling scaling;
  scaling.type = RopeScaling::Type::kLlama3;
  scaling.factor = factor;
  return scaling;
}

// What transformers 5.23's LlamaRotaryEmbedding has for the published configurations.
TEST(RopeFrequenciesTest, Llama31) {
  const std::vector<float> got = RopeFrequencies(500000, 64, Llama3(8));
  ASSERT_EQ(got.size(), 64u);
  ExpectFrequencies(got, {{0, 1.0},
                          {10, 0.128687382},
                          {28, 0.00321144611},
                          {29, 0.00216657063},
                          {30, 0.00137189368},
                          {32, 0.000524846022},
                          {35, 9.55621217e-05},
                          {36, 7.78465546e-05},
                          {63, 3.06892588e-07}});
}

TEST(RopeFrequenciesTest, Llama32) {
  const std::vector<float> got = RopeFrequencies(500000, 32, Llama3(32));
  ASSERT_EQ(got.size(), 32u);
  ExpectFrequencies(got, {{0, 1.0},
                          {5, 0.128687382},
                          {13, 0.00483942125},
                          {14, 0.00321144611},
                          {15, 0.00129054801},
                          {16, 0.000429556705},
                          {17, 9.70828623e-05},
                          {18, 1.94616387e-05},
                          {31, 9.41830649e-08}});
}

TEST(RopeFrequenciesTest, LinearDividesAllAndNoneNothing) {
  RopeScaling linear;
  linear.type = RopeScaling::Type::kLinear;
  linear.factor = 4;
  const std::vector<float> plain = RopeFrequencies(10000, 8, RopeScaling());
  const std::vector<float> scaled = RopeFrequencies(10000, 8, linear);
  EXPECT_EQ(plain[0], 1.0f);
  EXPECT_FLOAT_EQ(plain[4], 0.01f);
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_FLOAT_EQ(scaled[i], plain[i] / 4);
}

}  // namespace
}  // namespace ebb::model
