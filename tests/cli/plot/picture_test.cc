#include "cli/plot/picture.h"

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "cli/plot/page.h"
#include "gtest/gtest.h"
#include "tests/cli/plot/svg_reader.h"
#include "tests/server/test_seed.h"

namespace ebb::cli {
namespace {

constexpr int64_t kMib = 1 << 20;

MemoryHistory SmallHistory() {
  MemoryHistory history;
  history.first_time_ms = 1000000000000;
  history.series.Add(0, {100 * kMib, 50 * kMib, 400 * kMib}, 0);
  history.series.Add(10000, {300 * kMib, 200 * kMib, 400 * kMib}, 3);
  history.series.Add(20000, {200 * kMib, 100 * kMib, 250 * kMib}, 0);
  history.series.Add(40000, {0, 0, 250 * kMib}, 0);
  return history;
}

std::string PathOf(const std::vector<SvgElement>& elements, const std::string& curve) {
  // The legend has one too, before it.
  return WithClass(elements, curve).back()->attributes.at("d");
}

TEST(PictureTest, TheStepsAreThoseOfTheSamples) {
  const MemoryHistory history = SmallHistory();
  const std::vector<SvgElement> svg = ReadSvg(DrawPicture(history, "T"));
  const PictureFrame frame = FrameOf(history.series);
  const std::vector<Polyline> held = ReadSteps(PathOf(svg, "held"));
  ASSERT_EQ(held.size(), 1u);
  const double x[] = {64, 258, 452, 840};  // Quarters of the frame's 776.
  const double mib[] = {100, 300, 200, 0};
  // Along the old value to the next sample, then up or down.
  ASSERT_EQ(held[0].size(), 7u);
  for (size_t i = 0; i < 7; ++i) {
    EXPECT_NEAR(held[0][i].first, x[(i + 1) / 2], 0.051) << i;
    EXPECT_NEAR(held[0][i].second, frame.Y(mib[i / 2] * kMib), 0.051) << i;
  }
  const std::vector<Polyline> area = ReadSteps(PathOf(svg, "held-area"));
  EXPECT_NEAR(area[0].front().second, PictureFrame::kBottom, 0.051);
  EXPECT_NEAR(area[0].back().second, PictureFrame::kBottom, 0.051);
  const std::vector<Polyline> limit = ReadSteps(PathOf(svg, "limit"));
  EXPECT_NEAR(limit[0].front().second, frame.Y(400.0 * kMib), 0.051);
  EXPECT_NEAR(limit[0].back().second, frame.Y(250.0 * kMib), 0.051);
}

TEST(PictureTest, AxesAndMarksTellWhereTheyAre) {
  const MemoryHistory history = SmallHistory();
  const std::vector<SvgElement> svg = ReadSvg(DrawPicture(history, "T"));
  const PictureFrame frame = FrameOf(history.series);
  const auto y_ticks = WithClass(svg, "y");
  ASSERT_EQ(y_ticks.size(), 5u);
  EXPECT_EQ(y_ticks[4]->text, "400");
  // The text stands a little below its line, so that its middle is on it.
  EXPECT_NEAR(std::stod(y_ticks[4]->attributes.at("y")), frame.Y(400.0 * kMib) + 4.5, 0.051);
  EXPECT_EQ(WithClass(svg, "y-unit")[0]->text, "MiB");
  EXPECT_EQ(WithClass(svg, "x-unit")[0]->text, "seconds since 2001-09-09 01:46:40 UTC");
  EXPECT_EQ(WithClass(svg, "x").back()->text, "40");
  // One in the legend, one in the frame.
  ASSERT_EQ(WithClass(svg, "preemption-mark").size(), 2u);
  EXPECT_EQ(WithClass(svg, "preemption-mark")[1]->attributes.at("d").substr(0, 5), "M258,");
  ASSERT_EQ(WithClass(svg, "limit-mark").size(), 2u);
  EXPECT_EQ(WithClass(svg, "limit-mark")[1]->attributes.at("d").substr(0, 5), "M447,");
  bool told = false;
  for (const SvgElement& element : svg) told |= element.text == "3 preemptions";
  EXPECT_TRUE(told);
}

TEST(PictureTest, AFarLimitIsToldInsteadOfFlatteningTheCurves) {
  MemoryHistory history;
  history.series.Add(0, {100 * kMib, 50 * kMib, 10240 * kMib}, 0);
  history.series.Add(1000, {100 * kMib, 50 * kMib, 10240 * kMib}, 0);
  const std::vector<SvgElement> svg = ReadSvg(DrawPicture(history, "T"));
  EXPECT_EQ(WithClass(svg, "legend")[2]->text, "limit (10.0 GiB, above the picture)");
  EXPECT_LT(FrameOf(history.series).top_bytes, 110.0 * kMib);
  EXPECT_TRUE(WithClass(svg, "limit-mark").empty());
  EXPECT_TRUE(WithClass(svg, "preemption-mark").empty());
}

TEST(PictureTest, APauseIsAGapInEveryCurve) {
  MemoryHistory history = SmallHistory();
  history.series.Pause(50000);
  history.series.Add(90000, {10 * kMib, 5 * kMib, 250 * kMib}, 0);
  const std::vector<SvgElement> svg = ReadSvg(DrawPicture(history, "T"));
  const PictureFrame frame = FrameOf(history.series);
  for (const char* curve : {"held", "held-area", "needed", "limit"}) {
    const std::vector<Polyline> pieces = ReadSteps(PathOf(svg, curve));
    ASSERT_EQ(pieces.size(), 2u) << curve;
    EXPECT_NEAR(pieces[0].back().first, frame.X(50000), 0.051);
    EXPECT_NEAR(pieces[1].front().first, frame.X(90000), 0.051);
  }
}

TEST(PictureTest, OneSampleAndNothingHeldStillMakeAPicture) {
  for (const int64_t limit : {int64_t{0}, kMib}) {
    MemoryHistory history;
    history.series.Add(7, {0, 0, limit}, 0);
    const std::string svg = DrawPicture(history, "T");
    ReadSvg(svg);
    EXPECT_EQ(svg.find("nan"), svg.npos);
    EXPECT_EQ(svg.find("inf"), svg.npos);
    ReadSvg(DrawPicture(history, ""));
  }
}

TEST(PictureTest, TextFromOutsideStaysText) {
  MemoryHistory history = SmallHistory();
  history.model = "</text><script>alert(1)</script>\x01";
  const std::string title = "\"><svg onload='x'>&amp;\n";
  const std::vector<SvgElement> svg = ReadSvg(DrawPicture(history, title));
  EXPECT_EQ(WithClass(svg, "title")[0]->text, "\"><svg onload='x'>&amp;\ufffd");
  EXPECT_EQ(WithClass(svg, "model")[0]->text, "</text><script>alert(1)</script>\ufffd");
  for (const SvgElement& element : svg) EXPECT_NE(element.name, "script");
  const std::string page = DrawPage(history, title);
  EXPECT_EQ(page.find("<script>alert"), page.npos);
  EXPECT_EQ(page.find("<svg onload"), page.npos);
}

// However many samples: within the frame, peaks at their height, and of bounded size.
TEST(PictureTest, LongLogsKeepTheirPeaks) {
  base::Rng rng(tests::TestSeed());
  MemoryHistory history;
  int64_t now = 0;
  const int64_t count = 200000, peak_at = rng.Between(0, count - 1);
  int64_t peak_ms = 0;
  for (int64_t i = 0; i < count; ++i) {
    const bool peak = i == peak_at;
    if (peak) peak_ms = now;
    history.series.Add(now, {peak ? 1000 * kMib : rng.Between(0, 900 * kMib), 0, 2000 * kMib},
                       rng.Chance(0.5) ? 1 : 0);
    now += rng.Between(0, 100);
  }
  const std::string text = DrawPicture(history, "T");
  EXPECT_LT(text.size(), size_t{400} << 10);
  const std::vector<SvgElement> svg = ReadSvg(text);
  const PictureFrame frame = FrameOf(history.series);
  double top = PictureFrame::kBottom, top_x = 0;
  const std::vector<Polyline> held = ReadSteps(PathOf(svg, "held"));
  ASSERT_EQ(held.size(), 1u);
  for (const auto& [x, y] : held[0]) {
    EXPECT_GE(x, PictureFrame::kLeft);
    EXPECT_LE(x, PictureFrame::kRight);
    EXPECT_LE(y, PictureFrame::kBottom);
    if (y < top) {
      top = y;
      top_x = x;
    }
  }
  EXPECT_NEAR(top, frame.Y(1000.0 * kMib), 0.051);
  EXPECT_NEAR(top_x, frame.X(peak_ms), 1);
  EXPECT_LE(WithClass(svg, "preemption-mark").size(), 90u);
}

}  // namespace
}  // namespace ebb::cli
