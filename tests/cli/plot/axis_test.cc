#include "cli/plot/axis.h"

#include <cmath>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "tests/server/test_seed.h"

namespace ebb::cli {
namespace {

std::vector<std::string> Texts(const Axis& axis) {
  std::vector<std::string> texts;
  for (const Axis::Tick& tick : axis.ticks) texts.push_back(tick.text);
  return texts;
}

TEST(AxisTest, UnitsFitTheSpan) {
  const Axis bytes = ByteAxis(430.0 * (1 << 20));
  EXPECT_EQ(bytes.unit, "MiB");
  EXPECT_EQ(Texts(bytes), (std::vector<std::string>{"0", "100", "200", "300", "400"}));
  EXPECT_EQ(bytes.ticks[1].value, 100.0 * (1 << 20));
  EXPECT_EQ(ByteAxis(1).unit, "bytes");
  EXPECT_EQ(ByteAxis(0x1p60).unit, "TiB");
  const Axis seconds = TimeAxis(32);
  EXPECT_EQ(seconds.unit, "seconds");
  EXPECT_EQ(Texts(seconds), (std::vector<std::string>{"0", "5", "10", "15", "20", "25", "30"}));
  EXPECT_EQ(TimeAxis(0.001).unit, "milliseconds");
  EXPECT_EQ(TimeAxis(1800).unit, "minutes");
  EXPECT_EQ(TimeAxis(6 * 3600).unit, "hours");
  EXPECT_EQ(TimeAxis(100 * 365 * 86400.0).unit, "days");
}

TEST(AxisTest, AnySpanHasAFewTicksThatDiffer) {
  base::Rng rng(tests::TestSeed());
  for (int i = 0; i < 2000; ++i) {
    const double span = std::exp2(rng.Unit() * 60);
    for (const Axis& axis : {ByteAxis(span), TimeAxis(span / 1000)}) {
      EXPECT_GE(axis.ticks.size(), 2u) << span;
      EXPECT_LE(axis.ticks.size(), 11u) << span;
      EXPECT_EQ(axis.ticks[0].text, "0");
      for (size_t j = 1; j < axis.ticks.size(); ++j) {
        EXPECT_GT(axis.ticks[j].value, axis.ticks[j - 1].value);
        EXPECT_NE(axis.ticks[j].text, axis.ticks[j - 1].text);
        EXPECT_LE(axis.ticks[j].value, span * 1.000001);
      }
    }
  }
}

TEST(NiceStepTest, OneTwoOrFiveTimesAPowerOfTen) {
  EXPECT_DOUBLE_EQ(NiceStep(10, 10), 1);
  EXPECT_DOUBLE_EQ(NiceStep(10.1, 10), 2);
  EXPECT_DOUBLE_EQ(NiceStep(43, 10), 5);
  EXPECT_DOUBLE_EQ(NiceStep(0.6, 10), 0.1);
}

TEST(TextTest, FiguresInTheUnitOfTheirSize) {
  EXPECT_EQ(BytesText(0), "0 bytes");
  EXPECT_EQ(BytesText(1023), "1023 bytes");
  EXPECT_EQ(BytesText(1.5 * (1 << 20)), "1.5 MiB");
  EXPECT_EQ(SecondsText(27.34), "27.3 s");
  EXPECT_EQ(SecondsText(750), "12.5 min");
  EXPECT_EQ(SecondsText(4 * 3600), "4.0 h");
}

}  // namespace
}  // namespace ebb::cli
