// The product-limit estimate beside that of lifelines (tests/golden/make_survival_golden.py), and
// what bins and fading do to it.
#include "scheduler/survival_table.h"

#include <cmath>
#include <fstream>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace ebb::scheduler {
namespace {

SurvivalTable::Hazards NoPrior() { return {}; }

void Add(SurvivalTable* table, int64_t tokens, bool by_itself) {
  table->Pass(0, tokens);
  table->End(tokens, by_itself);
}

TEST(SurvivalTableTest, BinsAreInOrderAndLeaveNothingOut) {
  size_t last = 0;
  for (int64_t tokens = 0; tokens < (1 << 20); tokens += tokens < 5000 ? 1 : 97) {
    const size_t bin = SurvivalTable::BinOf(tokens);
    ASSERT_GE(bin, last);
    ASSERT_LT(bin, static_cast<size_t>(SurvivalTable::kBins));
    ASSERT_LE(SurvivalTable::BeginOf(bin), tokens);
    ASSERT_LT(tokens, SurvivalTable::BeginOf(bin + 1));
    last = bin;
  }
  EXPECT_EQ(SurvivalTable::WidthOf(SurvivalTable::BinOf(63)), 1);
  EXPECT_EQ(SurvivalTable::WidthOf(SurvivalTable::BinOf(64)), 8);
  EXPECT_EQ(SurvivalTable::WidthOf(SurvivalTable::BinOf(1024)), 128);
  // What is beyond all bins is in the last.
  EXPECT_EQ(SurvivalTable::BinOf(int64_t{1} << 40), static_cast<size_t>(SurvivalTable::kBins) - 1);
}

TEST(SurvivalTableTest, IsTheEstimateOfLifelines) {
  std::ifstream file("tests/golden/survival.json");
  const nlohmann::json cases = nlohmann::json::parse(file);
  ASSERT_GE(cases.size(), 5u);
  for (const nlohmann::json& one : cases) {
    SurvivalTable table;
    for (const int64_t tokens : one["ended"]) Add(&table, tokens, true);
    for (const int64_t tokens : one["cut_off"]) Add(&table, tokens, false);
    const SurvivalCurve curve(table.Estimate(NoPrior(), 0));
    int64_t tokens = 0;
    for (const double at_least : one["at_least"]) {
      ++tokens;
      // A hazard of 1 is held a little below.
      EXPECT_NEAR(std::exp(curve.LogAt(tokens)), at_least, 2e-4) << tokens << " tokens";
    }
  }
}

TEST(SurvivalTableTest, AnswersCountAsTheyPass) {
  SurvivalTable table;
  for (int i = 0; i < 10; ++i) Add(&table, 5, true);
  const SurvivalCurve without(table.Estimate(NoPrior(), 0));
  EXPECT_NEAR(without.Between(0, 10), 0, 1e-3);
  // Ten more run, and are past 10 tokens.
  size_t bin = 0;
  for (int i = 0; i < 10; ++i) {
    bin = table.Pass(0, 8);
    EXPECT_EQ(bin, 8u);
    bin = table.Pass(bin, 20);
  }
  EXPECT_EQ(bin, 20u);
  const SurvivalCurve with(table.Estimate(NoPrior(), 0));
  EXPECT_NEAR(with.Between(0, 10), 0.5, 1e-9);
}

TEST(SurvivalTableTest, LatelyWeighsMost) {
  const double factor = std::exp2(-1 / 10.0);  // Half after ten.
  SurvivalTable table;
  for (int i = 0; i < 1010; ++i) {
    table.Fade(factor);
    Add(&table, i < 1000 ? 10 : 50, true);
  }
  const SurvivalCurve curve(table.Estimate(NoPrior(), 0));
  EXPECT_NEAR(curve.Between(0, 20), 0.5, 1e-3);
  EXPECT_NEAR(table.weight(), 1 / (1 - factor), 1e-3);
  // However long it goes on, nothing overflows.
  SurvivalTable many;
  for (int i = 0; i < 5000; ++i) {
    many.Fade(0.5);
    Add(&many, 7, i % 2 == 0);
  }
  const SurvivalCurve fine(many.Estimate(NoPrior(), 0));
  EXPECT_TRUE(std::isfinite(fine.LogAt(100)));
  EXPECT_GT(many.weight(), 1);
}

TEST(SurvivalTableTest, ThePriorHoldsWhereNothingIsKnown) {
  SurvivalTable::Hazards prior = {};
  prior.fill(0.1);
  SurvivalTable table;
  EXPECT_NEAR(SurvivalCurve(table.Estimate(prior, 4)).Between(0, 3), std::pow(0.9, 3), 1e-12);
  for (int i = 0; i < 4; ++i) Add(&table, 2, true);
  // At two tokens four ended of four, beside four of which a tenth does.
  const SurvivalCurve curve(table.Estimate(prior, 4));
  EXPECT_NEAR(curve.Between(2, 3), 1 - (4 + 0.4) / 8, 1e-12);
  EXPECT_NEAR(curve.Between(3, 4), 0.9, 1e-12) << "none got there";
}

TEST(SurvivalCurveTest, MeansAreThoseOfTheLengths) {
  SurvivalTable table;
  for (int64_t tokens = 1; tokens <= 60; ++tokens) Add(&table, tokens, true);
  const SurvivalCurve curve(table.Estimate(NoPrior(), 0));
  EXPECT_NEAR(curve.Mean(0, 1000), 30.5, 0.5);
  EXPECT_NEAR(curve.Mean(40, 1000), 50, 0.5);  // Those from 40 to 60.
  EXPECT_NEAR(curve.Mean(0, 10), (45 + 51 * 10) / 60.0, 0.2);
  EXPECT_EQ(curve.Mean(7, 7), 7);
  EXPECT_TRUE(std::isfinite(curve.Mean((1 << 20) + 5, 1 << 22)));
}

}  // namespace
}  // namespace ebb::scheduler
