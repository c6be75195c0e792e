#include "scheduler/learned_lengths.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"

namespace ebb::scheduler {
namespace {

using engine::AnswerView;

AnswerView Answer(int64_t generated, int64_t max_tokens = 4096, int64_t prompt_tokens = 100,
                  absl::string_view tenant = "") {
  AnswerView answer;
  answer.tenant = tenant;
  answer.prompt_tokens = prompt_tokens;
  answer.max_tokens = max_tokens;
  answer.generated_tokens = generated;
  return answer;
}

double Survives(const LearnedLengths& lengths, const AnswerView& answer, int64_t more_tokens) {
  double probability = 0;
  lengths.Survives(answer, {more_tokens}, absl::MakeSpan(&probability, 1));
  return probability;
}

LearnedLengths Cold() {
  LearnedLengthsOptions options;
  options.prior_tokens = 256;
  return LearnedLengths(options);
}

TEST(LearnedLengthsTest, BeginsWithThePrior) {
  const LearnedLengths lengths = Cold();
  EXPECT_NEAR(lengths.ExpectedTokens(Answer(0, 1 << 20)), 256, 16);
  EXPECT_EQ(lengths.ExpectedTokens(Answer(0, 64)), 64) << "no longer than it may be";
  EXPECT_DOUBLE_EQ(Survives(lengths, Answer(0), 128), 1);
  // What has run long runs on.
  EXPECT_NEAR(lengths.ExpectedTokens(Answer(1024, 1 << 20)), 1024 + (1024 + 128) / 2, 80);
  EXPECT_EQ(lengths.ExpectedTokens(Answer(4090)), 4096);
}

TEST(LearnedLengthsTest, LearnsFromAnswersThatEnd) {
  LearnedLengths lengths = Cold();
  for (int i = 0; i < 200; ++i) lengths.End(Answer(20), true);
  EXPECT_LE(lengths.ExpectedTokens(Answer(0)), 40);
  EXPECT_GT(Survives(lengths, Answer(0), 20), 0.9);
  EXPECT_LT(Survives(lengths, Answer(0), 21), 0.1);
}

TEST(LearnedLengthsTest, AnswersThatAreCutOffDoNotCountAsShort) {
  LearnedLengths lengths = Cold();
  // Half end at 100; the others are cancelled at 10.
  for (int i = 0; i < 200; ++i) {
    lengths.End(Answer(100), true);
    lengths.End(Answer(10), false);
  }
  EXPECT_GT(Survives(lengths, Answer(0), 90), 0.95);
  EXPECT_LT(Survives(lengths, Answer(0), 110), 0.1);
}

TEST(LearnedLengthsTest, ClassesAreKeptApartAndFallBackToAll) {
  LearnedLengths lengths = Cold();
  for (int i = 0; i < 300; ++i) {
    lengths.End(Answer(10, 4096, 100, "short"), true);
    lengths.End(Answer(500, 4096, 100, "long"), true);
  }
  EXPECT_LT(lengths.ExpectedTokens(Answer(0, 4096, 100, "short")), 60);
  EXPECT_GT(lengths.ExpectedTokens(Answer(0, 4096, 100, "long")), 400);
  // Nobody knows this one: half of all are long.
  EXPECT_NEAR(Survives(lengths, Answer(0, 4096, 100, "new"), 100), 0.5, 0.05);
}

TEST(LearnedLengthsTest, RunningAnswersAreKnownToBeThatLong) {
  LearnedLengths lengths = Cold();
  for (int i = 0; i < 50; ++i) lengths.End(Answer(10), true);
  const double before = Survives(lengths, Answer(0), 50);
  std::vector<AnswerView> running;
  for (uint64_t id = 1; id <= 50; ++id) {
    running.push_back(Answer(100));
    running.back().id = id;
  }
  lengths.Pass(running);
  const double after = Survives(lengths, Answer(0), 50);
  EXPECT_GT(after, before + 0.3);
  // Each passes but once.
  lengths.Pass(running);
  EXPECT_DOUBLE_EQ(Survives(lengths, Answer(0), 50), after);
  for (const AnswerView& answer : running) lengths.End(answer, false);
  EXPECT_NEAR(Survives(lengths, Answer(0), 50), after, 0.15);
}

TEST(LearnedLengthsTest, TheNumberOfClassesIsBounded) {
  LearnedLengthsOptions options;
  options.classes_max = 4;
  LearnedLengths lengths(options);
  for (int i = 0; i < 1000; ++i) {
    lengths.End(Answer(500, 4096, 100, "steady"), true);
    const std::string tenant = "tenant" + std::to_string(i);
    lengths.End(Answer(5, 4096, 100, tenant), true);
  }
  // The one of which most is known was kept.
  EXPECT_GT(lengths.ExpectedTokens(Answer(0, 4096, 100, "steady")), 350);
}

// Of what is predicted with probability p, a part p comes to be, within three points.
TEST(LearnedLengthsTest, QuantilesAreCalibrated) {
  const char* seed_text = std::getenv("SEED");
  const uint64_t seed = seed_text != nullptr ? std::strtoull(seed_text, nullptr, 10) : 77;
  std::cout << "SEED=" << seed << "\n";
  base::Rng rng(seed);
  LearnedLengths lengths = Cold();
  // Lognormal lengths, a tenth cancelled at random, capped at 512.
  const auto draw = [&rng] {
    const double normal =
        std::sqrt(-2 * std::log(1 - rng.Unit())) * std::cos(2 * 3.14159265358979 * rng.Unit());
    return std::max<int64_t>(1, std::llround(std::exp(4.5 + 0.8 * normal)));
  };
  constexpr int kAnswers = 6000;
  constexpr int kLearned = 2000;
  int below[10] = {};
  for (int i = 0; i < kAnswers; ++i) {
    const int64_t length = draw();
    if (i >= kLearned) {
      // The probability that an answer is at most this long.
      const double p = 1 - Survives(lengths, Answer(0), length + 1);
      for (int q = 1; q < 10; ++q) below[q] += p <= q / 10.0;
    }
    int64_t made = std::min<int64_t>(length, 512);
    bool ended = length <= 512;
    if (rng.Chance(0.1)) {
      const int64_t cut = rng.Between(1, 300);
      if (cut < made) {
        made = cut;
        ended = false;
      }
    }
    lengths.End(Answer(made, 512), ended);
  }
  for (int q = 1; q < 10; ++q) {
    EXPECT_NEAR(static_cast<double>(below[q]) / (kAnswers - kLearned), q / 10.0, 0.03)
        << "quantile " << q * 10;
  }
}

}  // namespace
}  // namespace ebb::scheduler
