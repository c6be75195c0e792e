#include "cli/top/memory_chart.h"

#include <limits>

#include "gtest/gtest.h"
#include "tests/cli/top/samples.h"

namespace ebb::cli {
namespace {

MemoryColumn Column(int64_t needed_mib, int64_t held_mib, int64_t limit_mib) {
  return {true, held_mib * kMebibyte, needed_mib * kMebibyte, limit_mib * kMebibyte};
}

std::string Chart(const std::vector<MemoryColumn>& columns, int rows, bool color = false) {
  return TextOf(DrawMemoryChart(columns, absl::Seconds(2), rows, color));
}

TEST(MemoryChartTest, NeededWithinHeldUnderTheLimit) {
  const std::vector<MemoryColumn> columns = {{},
                                             Column(0, 0, 400),
                                             Column(1, 50, 400),
                                             Column(50, 100, 400),
                                             Column(125, 250, 400),
                                             Column(200, 400, 400),
                                             Column(100, 300, 200),
                                             {},
                                             Column(100, 100, 200)};
  EXPECT_EQ(Chart(columns, 4),
            "  400 MiB  ────░\n"
            "              ░░░\n"
            "              ▂█─ ─\n"
            "  0 bytes   ▁▄███ █\n"
            "\n")
      << "there is no room to tell the time";
}

// In colours, held has steps as fine as needed has.
TEST(MemoryChartTest, ColorsTellHeldFromNeeded) {
  const std::vector<MemoryColumn> columns = {Column(25, 100, 300), Column(0, 150, 300),
                                             Column(100, 200, 300)};
  const std::vector<StyledLine> lines =
      DrawMemoryChart(columns, absl::Seconds(1), 2, /*color=*/true);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].Colored(), "  \x1b[2m300 MiB\x1b[0m \x1b[35m──\x1b[0m\x1b[36m▃\x1b[0m");
  EXPECT_EQ(lines[1].Colored(),
            "  \x1b[2m0 bytes\x1b[0m \x1b[34m▁\x1b[0m\x1b[36m█\x1b[0m\x1b[34;46m▅\x1b[0m");
}

TEST(MemoryChartTest, ALimitFarAboveLeavesTheCurvesTheRoom) {
  EXPECT_EQ(ChartTop({Column(10, 100, 200)}), 200.0 * kMebibyte);
  EXPECT_EQ(ChartTop({Column(10, 100, 201)}), 100.0 * kMebibyte);
  EXPECT_EQ(ChartTop({Column(10, 101, 1024)}), 150.0 * kMebibyte);
  EXPECT_EQ(Chart({Column(10, 100, 201)}, 1), "  100 MiB ▁\n\n");
}

TEST(MemoryChartTest, NothingHeldIsAnEmptyChart) {
  EXPECT_EQ(Chart({Column(0, 0, 1024), Column(0, 0, 1024)}, 2), "  1.0 MiB\n  0 bytes\n\n");
  EXPECT_EQ(Chart({}, 2), "  1.0 MiB\n  0 bytes\n\n");
  EXPECT_EQ(Chart({Column(0, 0, 0)}, 1), "  1.0 MiB\n\n");
}

// However little it is.
TEST(MemoryChartTest, WhatIsThereIsSeen) {
  EXPECT_EQ(Chart({Column(0, 1000, 0), {true, 1, 0, 0}, {true, 1, 1, 0}}, 2),
            "  1.0 GiB ░\n"
            "  0 bytes ░░▁\n"
            "\n");
}

TEST(MemoryChartTest, HostileValuesStayWithinTheChart) {
  const int64_t most = std::numeric_limits<int64_t>::max();
  const int64_t least = std::numeric_limits<int64_t>::min();
  for (const bool color : {false, true}) {
    for (const int64_t held : {most, least, int64_t{0}, int64_t{1}}) {
      for (const int64_t needed : {most, least, int64_t{0}}) {
        for (const int64_t limit : {most, least, int64_t{0}}) {
          const std::vector<MemoryColumn> columns = {{true, held, needed, limit},
                                                     Column(10, 20, 30)};
          EXPECT_GT(ChartTop(columns), 0);
          for (const StyledLine& line : DrawMemoryChart(columns, absl::Seconds(1), 3, color)) {
            EXPECT_LE(line.columns(), kChartMargin + 2);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace ebb::cli
