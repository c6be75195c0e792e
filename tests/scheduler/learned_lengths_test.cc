#include "scheduler/learned_lengths.h"

#include <algorithm>
#include <cmath>
#include <iostream>
#include <string>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "tests/model/seed.h"

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

// Goes by its tables alone.
LearnedLengths Uncorrected() {
  LearnedLengthsOptions options;
  options.ranks.prior_weight = 1e12;
  return LearnedLengths(options);
}

int64_t CountOf(const engine::LengthRanks& ranks) {
  double count = 0;
  for (const double one : ranks.counts) count += one;
  EXPECT_NEAR(count, std::round(count), 1e-6) << "each counts as one in all";
  return std::llround(count);
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
  LearnedLengths lengths = Uncorrected();
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

TEST(LearnedLengthsTest, AfterAHalfLifeTheOldCountHalf) {
  LearnedLengths lengths = Uncorrected();
  for (int i = 0; i < 5000; ++i) lengths.End(Answer(10), true);
  for (int i = 0; i < 250; ++i) lengths.End(Answer(1000), true);
  // Half of what counts is of either kind.
  EXPECT_NEAR(Survives(lengths, Answer(0), 100), 0.5, 0.03);
  for (int i = 0; i < 250; ++i) lengths.End(Answer(1000), true);
  EXPECT_NEAR(Survives(lengths, Answer(0), 100), 0.75, 0.03);
}

// Those that leave the queue of a server with too much to do.
TEST(LearnedLengthsTest, AnswersThatNeverBeganMakeNothingForgotten) {
  LearnedLengths lengths = Cold();
  for (int i = 0; i < 300; ++i) lengths.End(Answer(20), true);
  const std::string before = lengths.Save();
  for (int i = 0; i < 5000; ++i) lengths.End(Answer(0, 4096, 100, "impatient"), false);
  EXPECT_EQ(lengths.Save(), before);
  // Those that had nothing to say did end.
  lengths.End(Answer(0), true);
  EXPECT_NE(lengths.Save(), before);
}

// Requests for one token, which benchmarks and classifiers send by the thousand.
TEST(LearnedLengthsTest, AnswersThatAreCutOffMakeNothingForgottenBeyondThem) {
  LearnedLengths lengths = Cold();
  for (int i = 0; i < 300; ++i) lengths.End(Answer(i % 2 == 0 ? 20 : 600), true);
  const double before = Survives(lengths, Answer(2), 100);
  EXPECT_NEAR(before, 0.5, 0.02);
  for (int i = 0; i < 5000; ++i) lengths.End(Answer(1, 1), false);
  EXPECT_NEAR(Survives(lengths, Answer(2), 100), before, 1e-9);
  EXPECT_GT(Survives(lengths, Answer(0), 100), 0.4) << "nor does it make answers short";
  // The class is still one of which much is known.
  const auto of_class = [&] { return CountOf(lengths.Scores().ranks[0]); };
  const int64_t predicted = of_class();
  lengths.End(Answer(20), true);
  EXPECT_EQ(of_class(), predicted + 1);
}

TEST(LearnedLengthsTest, EachAnswerIsScoredByWhatItsPredictionWentBy) {
  LearnedLengthsOptions options;
  options.all_weight = 2;
  LearnedLengths lengths(options);
  const auto counts = [&] {
    const engine::LengthScores scores = lengths.Scores();
    return std::vector<int64_t>{CountOf(scores.ranks[0]), CountOf(scores.ranks[1]),
                                CountOf(scores.ranks[2])};
  };
  using Counts = std::vector<int64_t>;
  lengths.End(Answer(200, 4096, 100, "a"), true);
  EXPECT_EQ(counts(), (Counts{0, 0, 1})) << "nothing was known";
  for (int i = 0; i < 3; ++i) lengths.End(Answer(200, 4096, 100, "a"), true);
  EXPECT_EQ(counts()[2], 2) << "one answer, faded, is not yet as much as the prior";
  const int64_t by_class = counts()[0];
  lengths.End(Answer(200, 4096, 100, "b"), true);
  EXPECT_EQ(counts(), (Counts{by_class, 5 - 2 - by_class, 2})) << "all are known, b is not";
  for (int i = 0; i < 3; ++i) lengths.End(Answer(200, 4096, 100, "a"), true);
  EXPECT_EQ(counts()[0], by_class + 3);
  const Counts before = counts();
  lengths.End(Answer(0, 4096, 100, "a"), false);
  EXPECT_EQ(counts(), before) << "it was never asked whether it would end";
}

// A prediction counts as it was when the answer was first seen, not as it became.
TEST(LearnedLengthsTest, WhatWasPredictedFirstIsScored) {
  LearnedLengths lengths = Cold();
  for (int i = 0; i < 300; ++i) lengths.End(Answer(20), true);
  AnswerView late = Answer(0);
  late.id = 7;
  lengths.Pass({late});
  for (int i = 0; i < 3000; ++i) lengths.End(Answer(500), true);
  const engine::LengthRanks before = lengths.Scores().ranks[0];
  late.generated_tokens = 500;
  lengths.End(late, true);
  const engine::LengthRanks after = lengths.Scores().ranks[0];
  EXPECT_NEAR(after.counts.back(), before.counts.back() + 1, 0.01)
      << "nobody expected it to be so long";
}

// The most that a decile of what was predicted differs from what came, in points, over answers of
// eight classes all of which become shorter by a third.
double ErrorWhereAnswersBecomeShorter(const LearnedLengthsOptions& options, uint64_t seed) {
  constexpr int kAnswers = 1500;
  constexpr int kLearned = 500;
  base::Rng rng(seed);
  LearnedLengths lengths(options);
  double within[10] = {};
  for (int i = 0; i < kAnswers; ++i) {
    const double shrunk = 1 - std::max(0, i - kLearned) / (3.0 * (kAnswers - kLearned));
    const int64_t type = rng.Between(0, 7);
    const double mean = shrunk * static_cast<double>(40 + 20 * type);
    const auto length = static_cast<int64_t>(std::ceil(-mean * std::log(1 - rng.Unit())));
    const AnswerView answer = Answer(length, 4096, 1 << type);
    const AnswerView before = Answer(0, 4096, 1 << type);
    const double least = 1 - Survives(lengths, before, length);
    const double most = 1 - Survives(lengths, before, length + 1);
    for (int tenth = 1; tenth < 10 && i >= kLearned; ++tenth) {
      within[tenth] += std::clamp((tenth / 10.0 - least) / (most - least), 0.0, 1.0);
    }
    lengths.End(answer, true);
  }
  double error = 0;
  for (int tenth = 1; tenth < 10; ++tenth) {
    error = std::max(error, std::abs(within[tenth] * 10 / (kAnswers - kLearned) - tenth) * 10);
  }
  return error;
}

TEST(LearnedLengthsTest, FollowsAnswersThatBecomeShorter) {
  const uint64_t seed = model::TestSeed(31);
  LearnedLengthsOptions uncorrected;
  uncorrected.ranks.prior_weight = 1e12;
  double with = 0;
  double without = 0;
  constexpr int kRounds = 10;
  for (int i = 0; i < kRounds; ++i) {
    with += ErrorWhereAnswersBecomeShorter({}, seed + i) / kRounds;
    without += ErrorWhereAnswersBecomeShorter(uncorrected, seed + i) / kRounds;
  }
  std::cout << with << " points off, " << without << " where nothing is corrected\n";
  EXPECT_LE(with, 3);
  EXPECT_LE(with, without / 2);
}

// The answers of one tenant become long; the other's are as they were.
TEST(LearnedLengthsTest, WhoStaysTheSameIsNotCorrectedByWhoChanges) {
  const uint64_t seed = model::TestSeed(8);
  base::Rng rng(seed);
  LearnedLengths lengths = Cold();
  const auto end = [&](absl::string_view tenant, int64_t least) {
    lengths.End(Answer(rng.Between(least, 2 * least), 4096, 100, tenant), true);
  };
  for (int i = 0; i < 500; ++i) {
    end("steady", 40);
    end("changing", 40);
  }
  const double before = Survives(lengths, Answer(0, 4096, 100, "steady"), 60);
  EXPECT_NEAR(before, 0.5, 0.1);
  for (int i = 0; i < 40; ++i) {
    end("steady", 40);
    end("changing", 80);
  }
  EXPECT_NEAR(Survives(lengths, Answer(0, 4096, 100, "steady"), 60), before, 0.1);
  // Its tables still say a fifth.
  EXPECT_GT(Survives(lengths, Answer(0, 4096, 100, "changing"), 75), 0.4);
}

// Of what is predicted with probability p, a part p comes to be, within three points.
TEST(LearnedLengthsTest, QuantilesAreCalibrated) {
  const uint64_t seed = model::TestSeed(77);
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
  engine::LengthScores learning;
  for (int i = 0; i < kAnswers; ++i) {
    const int64_t length = draw();
    if (i == kLearned) learning = lengths.Scores();
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
  // Its own score says the same, though it knows nothing of what those cut off would have made.
  const engine::LengthRanks ranks = lengths.Scores().ranks[0];
  double count = 0;
  for (size_t i = 0; i < ranks.kBounds.size(); ++i) {
    count += ranks.counts[i] - learning.ranks[0].counts[i];
    EXPECT_NEAR(count / (kAnswers - kLearned), ranks.kBounds[i], 0.03);
  }
  EXPECT_NEAR((ranks.sum - learning.ranks[0].sum) / (kAnswers - kLearned), 0.5, 0.02);
}

}  // namespace
}  // namespace ebb::scheduler
