#include "model/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "tests/model/seed.h"

namespace ebb::model {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

SamplingParams Params(double temperature, int32_t top_k = 0, double top_p = 1, double min_p = 0,
                      uint64_t seed = 1) {
  SamplingParams params;
  params.temperature = temperature;
  params.top_k = top_k;
  params.top_p = top_p;
  params.min_p = min_p;
  params.seed = seed;
  return params;
}

absl::StatusOr<SampledToken> Sample(const std::vector<float>& logits, const SamplingParams& params,
                                    int32_t index = 0, const std::vector<int32_t>& banned = {}) {
  SamplerScratch scratch;
  return model::Sample(logits, params, index, banned, &scratch);
}

// The definition of the header, with full sorts: the probability of each token.
std::vector<double> NaiveDistribution(std::vector<float> logits, const SamplingParams& params,
                                      const std::vector<int32_t>& banned) {
  for (const int32_t id : banned) logits[id] = -kInfinity;
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(),
                   [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  const auto normalized = [&](size_t count) {
    std::vector<double> probabilities(logits.size(), 0.0);
    double total = 0;
    for (size_t i = 0; i < count; ++i) {
      probabilities[ids[i]] =
          std::exp((double{logits[ids[i]]} - logits[ids[0]]) / params.temperature);
      total += probabilities[ids[i]];
    }
    for (double& p : probabilities) p /= total;
    return probabilities;
  };
  size_t count = ids.size();
  if (params.top_k > 0) count = std::min<size_t>(count, params.top_k);
  std::vector<double> probabilities = normalized(count);
  if (params.top_p < 1) {
    double sum = 0;
    for (size_t i = 0; i < count; ++i) {
      sum += probabilities[ids[i]];
      if (sum >= params.top_p) count = i + 1;
    }
    probabilities = normalized(count);
  }
  if (params.min_p > 0) {
    for (size_t i = 0; i < count; ++i) {
      if (probabilities[ids[i]] < params.min_p * probabilities[ids[0]]) count = i;
    }
    probabilities = normalized(count);
  }
  return probabilities;
}

TEST(SamplerTest, GreedyTakesTheLowestIdOfTheMostLikely) {
  EXPECT_EQ(Sample({1, 3, 3, 2}, Params(0))->token_id, 1);
  EXPECT_EQ(Sample({-kInfinity, -5}, Params(0))->token_id, 1);
  EXPECT_EQ(Sample({7}, Params(0))->token_id, 0);
  EXPECT_EQ(Sample({1, 3, 3, 2}, Params(0), 0, {1, 1, -4, 99})->token_id, 2);
  // Wherever it stands in a row that is no multiple of the vector's length.
  for (int32_t size : {1, 15, 16, 17, 33, 100, 1023, 1024, 1025, 2500}) {
    for (int32_t at = 0; at < size; ++at) {
      std::vector<float> logits(size, -1.0f);
      logits[at] = -0.5f;
      if (at + 1 < size) logits[size - 1] = -0.5f;  // An equal that must lose.
      ASSERT_EQ(Sample(logits, Params(0))->token_id, at);
    }
  }
}

TEST(SamplerTest, BrokenLogitsAreErrors) {
  for (const SamplingParams& params : {Params(0), Params(1)}) {
    for (size_t at : {0, 5, 16, 36}) {
      std::vector<float> logits(37, 1.0f);
      logits[at] = kNan;
      const absl::Status status = Sample(logits, params).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
      EXPECT_EQ(status.message(), "logit of token " + std::to_string(at) + " is NaN");
      logits[at] = kInfinity;
      EXPECT_EQ(Sample(logits, params).status().code(), absl::StatusCode::kInternal);
    }
    EXPECT_EQ(Sample({}, params).status().code(), absl::StatusCode::kInternal);
    EXPECT_EQ(Sample({-kInfinity, -kInfinity}, params).status().code(),
              absl::StatusCode::kInternal);
    EXPECT_EQ(Sample({1, 2}, params, 0, {0, 1}).status().code(), absl::StatusCode::kInternal);
  }
}

// Adjusted before everything else; log-probabilities are those of the logits as they came.
TEST(SamplerTest, AdjustmentsComeBeforeBansAndFilters) {
  const std::vector<float> logits = {2, 1, 0, -1};
  const std::vector<LogitAdjustment> adjustments = {
      {3, 5, 1, 0}, {0, 0, 4, 0}, {1, 0, 1, 0.75f}, {-1, 9, 1, 0}, {4, 9, 1, 0}};
  // Now 0.5, 0.25, 0, 4.
  SamplerScratch scratch;
  SamplingParams params = Params(0);
  params.logprobs = 2;
  const auto best = model::Sample(logits, params, 0, {}, &scratch, adjustments);
  ASSERT_TRUE(best.ok()) << best.status();
  EXPECT_EQ(best->token_id, 3);
  EXPECT_EQ(best->logprob, LogProbs(logits, 3, 0, &scratch)->logprob);
  EXPECT_EQ(best->top[0].token_id, 0);
  EXPECT_EQ(best->top[1].token_id, 1);
  const std::vector<int32_t> banned = {3};
  EXPECT_EQ(model::Sample(logits, params, 0, banned, &scratch, adjustments)->token_id, 0);
  params = Params(1, /*top_k=*/2);
  const std::vector<float> by_hand = {0.5f, 0.25f, 0, -kInfinity};
  for (int32_t index = 0; index < 100; ++index) {
    EXPECT_EQ(model::Sample(logits, params, index, banned, &scratch, adjustments)->token_id,
              Sample(by_hand, params, index)->token_id);
  }
  const std::vector<LogitAdjustment> too_much = {{1, 3e38f, 1e-3f, 0}};
  EXPECT_EQ(model::Sample(logits, params, 0, {}, &scratch, too_much).status().code(),
            absl::StatusCode::kInternal);
}

TEST(SamplerTest, ParametersOutsideTheirRangesAreRefused) {
  const double nan = std::nan("");
  for (const SamplingParams& params :
       {Params(-1), Params(nan), Params(kInfinity), Params(1, -1), Params(1, 0, 0),
        Params(1, 0, 1.5), Params(1, 0, nan), Params(1, 0, 1, -0.1), Params(1, 0, 1, 1.1),
        Params(1, 0, 1, nan)}) {
    EXPECT_EQ(Sample({1, 2}, params).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(SamplerTest, ExtremeParametersStayDefined) {
  const std::vector<float> logits = {1, 3e38f, -3e38f, 2, -kInfinity};
  for (int32_t index = 0; index < 50; ++index) {
    EXPECT_EQ(Sample(logits, Params(1e-300), index)->token_id, 1);
    EXPECT_EQ(Sample(logits, Params(1, 1), index)->token_id, 1);
    EXPECT_EQ(Sample(logits, Params(1, 0, 1e-300), index)->token_id, 1);
    EXPECT_EQ(Sample(logits, Params(1, 0, 1, 1), index)->token_id, 1);
    // As good as uniform, but never what has no probability at all.
    EXPECT_NE(Sample(logits, Params(1e300), index)->token_id, 4);
    EXPECT_NE(Sample(logits, Params(1, INT32_MAX, 1 - 1e-16, 1e-300), index)->token_id, 4);
  }
}

TEST(SamplerTest, FiltersKeepExactlyTheNamedTokens) {
  const std::vector<float> logits = {std::log(0.1f), std::log(0.4f), std::log(0.2f), std::log(0.2f),
                                     std::log(0.1f)};
  const auto kept = [&](const SamplingParams& params) {
    std::vector<bool> seen(logits.size());
    for (int32_t index = 0; index < 2000; ++index) {
      seen[Sample(logits, params, index)->token_id] = true;
    }
    std::vector<int32_t> ids;
    for (size_t i = 0; i < seen.size(); ++i) {
      if (seen[i]) ids.push_back(static_cast<int32_t>(i));
    }
    return ids;
  };
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(kept(Params(1)), Ids({0, 1, 2, 3, 4}));
  EXPECT_EQ(kept(Params(1, 2)), Ids({1, 2}));  // Of the equals 2 and 3 the lower.
  EXPECT_EQ(kept(Params(1, 0, 0.39)), Ids({1}));
  EXPECT_EQ(kept(Params(1, 0, 0.5)), Ids({1, 2}));
  EXPECT_EQ(kept(Params(1, 0, 0.7)), Ids({1, 2, 3}));
  EXPECT_EQ(kept(Params(1, 0, 1, 0.3)), Ids({1, 2, 3}));
  // top_p looks at what top_k left: 0.4 and 0.2 of 0.6, so 0.65 is reached by the first alone.
  EXPECT_EQ(kept(Params(1, 2, 0.65)), Ids({1}));
  // The temperature comes before top_p: at 10 the distribution is nearly flat.
  EXPECT_EQ(kept(Params(10, 0, 0.5)), Ids({1, 2, 3}));
}

TEST(SamplerTest, EqualsANaiveSamplerThatSorts) {
  base::Rng rng(TestSeed(11));
  SamplerScratch scratch;
  for (int round = 0; round < 3000; ++round) {
    std::vector<float> logits(static_cast<size_t>(rng.Between(1, rng.Chance(0.1) ? 3000 : 40)));
    const bool coarse = rng.Chance(0.3);  // Then there are many equals.
    for (float& logit : logits) {
      logit = coarse ? static_cast<float>(rng.Between(-2, 2))
                     : static_cast<float>(rng.Unit() * 20 - 10);
      if (rng.Chance(0.05)) logit = -kInfinity;
    }
    logits[0] = 0;
    std::vector<int32_t> banned;
    for (size_t i = 1; i < logits.size() && rng.Chance(0.5); ++i) {
      banned.push_back(static_cast<int32_t>(i));
    }
    const SamplingParams params = Params(
        0.05 + 2 * rng.Unit(), rng.Chance(0.5) ? static_cast<int32_t>(rng.Between(1, 400)) : 0,
        rng.Chance(0.5) ? 0.01 + 0.99 * rng.Unit() : 1, rng.Chance(0.5) ? rng.Unit() : 0,
        rng.Bits());
    const std::vector<double> expected = NaiveDistribution(logits, params, banned);
    for (int32_t index = 0; index < 5; ++index) {
      const auto sampled = model::Sample(logits, params, index, banned, &scratch);
      ASSERT_TRUE(sampled.ok()) << sampled.status();
      // The draw: the token in whose stretch of [0, 1) the random number lies. Sums in different
      // orders differ by some 1e-13 at most, so a number nearer than that to a border is left out.
      const double u = base::ToUnit(base::RandomBits(params.seed, static_cast<uint64_t>(index)));
      double sum = 0;
      int32_t chosen = -1;
      bool near_border = false;
      for (size_t i = 0; i < expected.size(); ++i) {
        sum += expected[i];
        near_border |= std::abs(sum - u) < 1e-12;
        if (chosen < 0 && sum > u) chosen = static_cast<int32_t>(i);
      }
      if (!near_border) {
        ASSERT_EQ(sampled->token_id, chosen) << "round " << round;
      }
    }
  }
}

TEST(SamplerTest, FrequenciesAreTheProbabilities) {
  const uint64_t seed = TestSeed(5);
  const std::vector<float> logits = {0.5f, 2.0f, -1.0f, 1.0f, 1.0f, -3.0f, 0.0f, 1.5f};
  for (const SamplingParams& params :
       {Params(1, 0, 1, 0, seed), Params(0.7, 5, 1, 0, seed), Params(1.5, 0, 0.8, 0, seed),
        Params(1, 6, 0.95, 0.2, seed)}) {
    const std::vector<double> expected = NaiveDistribution(logits, params, {});
    constexpr int32_t kDraws = 100'000;
    std::vector<int32_t> counts(logits.size());
    for (int32_t i = 0; i < kDraws; ++i) ++counts[Sample(logits, params, i)->token_id];
    double chi_square = 0;
    for (size_t i = 0; i < logits.size(); ++i) {
      if (expected[i] == 0) {
        EXPECT_EQ(counts[i], 0) << "token " << i;
        continue;
      }
      const double difference = counts[i] - kDraws * expected[i];
      chi_square += difference * difference / (kDraws * expected[i]);
    }
    // At most 7 degrees of freedom: a fair sampler passes 29.9 in one of 10^4 runs, and the seed
    // is fixed.
    EXPECT_LT(chi_square, 29.9);
  }
}

TEST(SamplerTest, SeedAndIndexFixTheDraw) {
  base::Rng rng(2);
  std::vector<float> logits(1000);
  for (float& logit : logits) logit = static_cast<float>(rng.Unit());
  std::vector<int32_t> first;
  std::vector<int32_t> other;
  for (int32_t i = 0; i < 20; ++i) {
    first.push_back(Sample(logits, Params(1, 0, 1, 0, 42), i)->token_id);
    other.push_back(Sample(logits, Params(1, 0, 1, 0, 43), i)->token_id);
  }
  EXPECT_NE(first, other);
  for (int32_t i = 19; i >= 0; --i) {  // In any order.
    EXPECT_EQ(Sample(logits, Params(1, 0, 1, 0, 42), i)->token_id, first[i]);
  }
}

TEST(SamplerTest, LogProbsAreThoseOfTheModel) {
  base::Rng rng(TestSeed(13));
  SamplerScratch scratch;
  for (int round = 0; round < 300; ++round) {
    std::vector<float> logits(static_cast<size_t>(rng.Between(1, 1000)));
    for (float& logit : logits) logit = static_cast<float>(rng.Between(-400, 400)) / 16;
    long double total = 0;
    for (const float logit : logits) total += std::exp(static_cast<long double>(logit));
    std::vector<int32_t> order(logits.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });

    SamplingParams params = Params(rng.Chance(0.5) ? 0 : 0.8, 3, 0.9, 0.1, rng.Bits());
    params.logprobs = static_cast<int32_t>(rng.Between(0, 400));
    const auto sampled = model::Sample(logits, params, 0, {}, &scratch);
    ASSERT_TRUE(sampled.ok()) << sampled.status();
    // Rounding to float: 2^-24 of magnitudes below 64.
    const auto expect_logprob = [&](int32_t id, float logprob) {
      EXPECT_NEAR(logprob, static_cast<double>(logits[id] - std::log(total)), 4e-6);
    };
    expect_logprob(sampled->token_id, sampled->logprob);
    ASSERT_EQ(sampled->top.size(), std::min<size_t>(params.logprobs, logits.size()));
    for (size_t i = 0; i < sampled->top.size(); ++i) {
      EXPECT_EQ(sampled->top[i].token_id, order[i]);
      expect_logprob(order[i], sampled->top[i].logprob);
    }
    const auto of_one = LogProbs(logits, order.back(), 2, &scratch);
    ASSERT_TRUE(of_one.ok()) << of_one.status();
    expect_logprob(order.back(), of_one->logprob);
    EXPECT_EQ(of_one->top.size(), std::min<size_t>(2, logits.size()));
  }
}

TEST(SamplerTest, LogProbsIgnoreBansAndFilters) {
  SamplingParams params = Params(0);
  params.logprobs = 1;
  const auto sampled = Sample({0, 0, 0, 0}, params, 0, {0, 1});
  ASSERT_TRUE(sampled.ok()) << sampled.status();
  EXPECT_EQ(sampled->token_id, 2);
  EXPECT_FLOAT_EQ(sampled->logprob, std::log(0.25f));
  EXPECT_EQ(sampled->top[0].token_id, 0);
  params.logprobs = -1;
  EXPECT_TRUE(Sample({0, 0}, params)->top.empty());
}

TEST(SamplerTest, LogProbsCheckTheirArguments) {
  SamplerScratch scratch;
  const std::vector<float> logits = {0, 1};
  for (const int32_t id : {-1, 2, INT32_MAX}) {
    EXPECT_EQ(LogProbs(logits, id, 0, &scratch).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(LogProbs(logits, 0, -1, &scratch).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(LogProbs({kNan, 1}, 0, 0, &scratch).status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(LogProbs({-kInfinity, 1}, 0, 0, &scratch)->logprob, -kInfinity);
}

}  // namespace
}  // namespace ebb::model
