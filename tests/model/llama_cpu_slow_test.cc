// The whole model with the fast kernels and float16 keys and values against transformers, and
// beside llama.cpp's distance from it (tests/golden/forward/smollm2_peer.json).

#include <cmath>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "kernels/backend_factory.h"
#include "nlohmann/json.hpp"
#include "tests/model/text_figures.h"

namespace ebb::model {
namespace {

// Promised bounds.
constexpr double kPerplexityErrorMax = 0.005;
constexpr double kMarginMax = 0.3;
constexpr double kPeerRatioMax = 1.0;

class LlamaCpuTest : public testing::TestWithParam<const char*> {};

TEST_P(LlamaCpuTest, StaysAsCloseToTransformersAsThePeer) {
  auto backend = kernels::MakeCpuBackend(GetParam(), /*threads=*/2);
  if (!backend.ok()) GTEST_SKIP() << backend.status();
  const std::unique_ptr<LlamaModel> model = LoadSmolLm2(backend->get());
  const nlohmann::json peer =
      nlohmann::json::parse(std::ifstream("tests/golden/forward/smollm2_peer.json"));

  const TextFigures texts = MeasureTexts(*model, kernels::DType::kF16, /*chunk_tokens=*/128,
                                         /*thread_count=*/1);
  const double logprob_ratio =
      texts.mean_abs_logprob_difference / peer["peer_mean_abs_logprob_difference"].get<double>();
  const double divergence_ratio =
      texts.mean_divergence / peer["peer_mean_divergence"].get<double>();
  std::printf("%s: %s\n%s: of the peer's (%s): %.4f of |dlogprob|, %.4f of divergence\n",
              GetParam(), texts.ToString().c_str(), GetParam(),
              peer["peer"].get<std::string>().c_str(), logprob_ratio, divergence_ratio);
  EXPECT_EQ(texts.positions, peer["positions"].get<int64_t>());
  EXPECT_LE(std::abs(texts.PerplexityError()), kPerplexityErrorMax);
  EXPECT_LE(texts.margin_of_worst_flip, kMarginMax);
  EXPECT_LE(logprob_ratio, kPeerRatioMax);
  EXPECT_LE(divergence_ratio, kPeerRatioMax);

  const ContinuationFigures greedy = MeasureContinuations(*model, kernels::DType::kF16);
  std::printf("%s: %ld of %ld greedy tokens differ, the worst at a margin of %.5f\n", GetParam(),
              static_cast<long>(greedy.different_tokens), static_cast<long>(greedy.tokens),
              greedy.margin_of_worst_flip);
  EXPECT_EQ(greedy.tokens, 20 * 32);
  EXPECT_LE(greedy.margin_of_worst_flip, kMarginMax);
}

INSTANTIATE_TEST_SUITE_P(Paths, LlamaCpuTest, testing::Values("avx512", "avx2"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace ebb::model
