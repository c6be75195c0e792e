#include "scheduler/rank_calibration.h"

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "tests/model/seed.h"

namespace ebb::scheduler {
namespace {

constexpr int kBins = RankCalibration::kBins;

RankCalibration WithMemoryOf(double half_life) { return RankCalibration({half_life, 20}, {}); }

// The probability that a rank is below this one.
double Corrected(const RankCalibration& ranks, double rank) {
  return -std::expm1(ranks.Estimate().Of(std::log1p(-rank)));
}

TEST(RankCalibrationTest, CorrectsNothingBeforeItKnowsAnything) {
  const RankCalibration::Correction none = WithMemoryOf(50).Estimate();
  for (const double log : {0.0, -1e-15, -1e-3, -0.1, -0.5, -1.0, -2.0, -2.4, -10.0, -1600.0}) {
    EXPECT_NEAR(none.Of(log), log, 1e-12 * std::max(1.0, -log));
  }
}

TEST(RankCalibrationTest, WhereHalfFellIsTheMedian) {
  RankCalibration ranks = WithMemoryOf(1000);
  base::Rng rng(model::TestSeed(12));
  // Answers are longer than predicted: half have ranks above sqrt(1/2).
  for (int i = 0; i < 20000; ++i) {
    const double rank = std::sqrt(rng.Unit());
    ranks.End(rank, rank);
  }
  for (const double rank : {0.1, 0.3, 0.5, 0.7, 0.95}) {
    EXPECT_NEAR(Corrected(ranks, rank), rank * rank, 0.04) << rank;
  }
  // Of what is beyond nine tenths it goes on as was predicted.
  const RankCalibration::Correction correction = ranks.Estimate();
  EXPECT_NEAR(correction.Of(-30) - correction.Of(-20), -10, 1e-9);
}

TEST(RankCalibrationTest, AnAnswerCountsInPartWhereItsLengthLies) {
  RankCalibration ranks = WithMemoryOf(50);
  ranks.End(0.15, 0.35);
  const RankCalibration::Values& values = ranks.values();
  const double events[kBins] = {0, 0.25, 0.5, 0.25};
  const double at_risk[kBins] = {1, 1, 0.75, 0.25};
  for (int bin = 0; bin < kBins; ++bin) {
    EXPECT_NEAR(values.events[bin], events[bin], 1e-12) << bin;
    EXPECT_NEAR(values.at_risk[bin], at_risk[bin], 1e-12) << bin;
  }
  for (int i = 0; i < 50; ++i) ranks.End(1, 1);
  EXPECT_NEAR(values.events[2], 0.25, 1e-12) << "half, after a half-life";
}

TEST(RankCalibrationTest, WhoeverIsCutOffIsNotTakenToBeShort) {
  RankCalibration ranks = WithMemoryOf(2000);
  base::Rng rng(model::TestSeed(12));
  for (int i = 0; i < 40000; ++i) {
    const double rank = std::sqrt(rng.Unit());
    const double cut = 2 * rng.Unit();
    if (cut < rank) {
      ranks.CutOff(cut);
    } else {
      ranks.End(rank, rank);
    }
  }
  for (const double rank : {0.1, 0.3, 0.5, 0.7, 0.95}) {
    EXPECT_NEAR(Corrected(ranks, rank), rank * rank, 0.04) << rank;
  }
}

TEST(RankCalibrationTest, WhatHasToldNothingMakesNothingForgotten) {
  RankCalibration ranks = WithMemoryOf(50);
  for (int i = 0; i < 100; ++i) ranks.End(0.75, 0.85);
  const RankCalibration::Values before = ranks.values();
  for (int i = 0; i < 5000; ++i) ranks.CutOff(0);
  EXPECT_EQ(ranks.values().at_risk, before.at_risk);
  for (int i = 0; i < 5000; ++i) ranks.CutOff(0.7);
  EXPECT_EQ(ranks.values().events[7], before.events[7]);
  EXPECT_EQ(ranks.values().at_risk[8], before.at_risk[8]);
}

// Whatever it was fed with, or has read from a file.
TEST(RankCalibrationTest, CorrectsToProbabilitiesThatFall) {
  base::Rng rng(model::TestSeed(12));
  for (int round = 0; round < 300; ++round) {
    RankCalibration::Values values;
    for (int bin = 0; bin < kBins; ++bin) {
      values.at_risk[bin] = rng.Chance(0.3) ? 0 : std::exp(20 * rng.Unit() - 6);
      values.events[bin] = values.at_risk[bin] * (rng.Chance(0.3) ? 1 : rng.Unit());
    }
    RankCalibration ranks({}, values);
    for (int i = 0; i < round % 7; ++i) {
      const double least = rng.Unit();
      if (rng.Chance(0.3)) {
        ranks.CutOff(least);
      } else {
        ranks.End(least, least + (1 - least) * rng.Unit());
      }
    }
    const RankCalibration::Correction correction = ranks.Estimate();
    double last = 0;
    for (double log = 0; log > -40; log -= 0.01) {
      const double corrected = correction.Of(log);
      ASSERT_TRUE(std::isfinite(corrected)) << log;
      ASSERT_LE(corrected, last + 1e-12) << log;
      last = corrected;
    }
  }
}

}  // namespace
}  // namespace ebb::scheduler
