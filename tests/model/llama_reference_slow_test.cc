// The whole model with the reference kernels and float32 keys and values against transformers.

#include <cmath>
#include <cstdio>
#include <memory>
#include <thread>

#include "gtest/gtest.h"
#include "kernels/reference/reference_backend.h"
#include "tests/model/text_figures.h"

namespace ebb::model {
namespace {

// Promised bounds. Both sides compute the same function; what is left is transformers' rounding.
constexpr double kPerplexityErrorMax = 0.0005;
constexpr double kMarginMax = 0.02;

TEST(LlamaReferenceTest, FollowsTransformersOverMixedTextAndContinuations) {
  const auto backend = kernels::MakeReferenceBackend();
  const std::unique_ptr<LlamaModel> model = LoadSmolLm2(backend.get());

  // The reference works on the calling thread alone: texts and continuations share the cores.
  ContinuationFigures greedy;
  std::thread continuations([&] { greedy = MeasureContinuations(*model, kernels::DType::kF32); });
  const TextFigures texts = MeasureTexts(*model, kernels::DType::kF32, /*chunk_tokens=*/128,
                                         /*thread_count=*/2);
  continuations.join();
  std::printf("reference: %s\n", texts.ToString().c_str());
  EXPECT_GE(texts.positions, 2000);
  EXPECT_LE(std::abs(texts.PerplexityError()), kPerplexityErrorMax);
  EXPECT_LE(texts.margin_of_worst_flip, kMarginMax);

  std::printf("reference: %ld of %ld greedy tokens differ, the worst at a margin of %.5f\n",
              static_cast<long>(greedy.different_tokens), static_cast<long>(greedy.tokens),
              greedy.margin_of_worst_flip);
  EXPECT_EQ(greedy.tokens, 20 * 32);
  EXPECT_LE(greedy.margin_of_worst_flip, kMarginMax);
}

}  // namespace
}  // namespace ebb::model
