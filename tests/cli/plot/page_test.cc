#include "cli/plot/page.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace ebb::cli {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

MemoryHistory SmallHistory() {
  MemoryHistory history;
  history.windows = 17;
  history.preemptions = 3;
  history.requests_finished = 9;
  history.server_runs = 1;
  constexpr int64_t kGib = int64_t{1} << 30;
  history.series.Add(5000, {3 * kGib, 2 * kGib, 4 * kGib}, 3);
  history.series.Add(7000, {kGib, 0, 2 * kGib}, 0);
  history.series.Add(8000, {0, 0, 2 * kGib}, 0);
  return history;
}

TEST(MemoryFiguresTest, AreThoseOfTheLog) {
  const auto figures = MemoryFigures(SmallHistory());
  EXPECT_THAT(figures, Contains(Pair("peak held", "3.0 GiB")));
  EXPECT_THAT(figures, Contains(Pair("peak needed", "2.0 GiB")));
  EXPECT_THAT(figures, Contains(Pair("limit", "2.0 GiB to 4.0 GiB, changed 1 time")));
  EXPECT_THAT(figures, Contains(Pair("held over needed, integrals over time",
                                     "1.75 (7.00 GiB s over 4.00 GiB s)")));
  EXPECT_THAT(figures, Contains(Pair("preemptions", "3")));
  EXPECT_THAT(figures, Contains(Pair("windows", "17")));
  EXPECT_THAT(figures, Contains(Pair("requests finished", "9")));
  EXPECT_THAT(figures, Contains(Pair("time", "3.0 s")));
  EXPECT_EQ(figures.size(), 8u);
}

TEST(MemoryFiguresTest, WhatIsUnusualIsTold) {
  MemoryHistory history;
  history.server_runs = 2;
  history.lines_foreign = 4;
  history.lines_too_long = 1;
  history.series.Add(0, {1, 0, 5}, 0);
  const auto figures = MemoryFigures(history);
  EXPECT_THAT(figures, Contains(Pair("runs of a server", "2")));
  EXPECT_THAT(figures, Contains(Pair("lines of the log passed over", "5")));
  EXPECT_THAT(figures,
              Contains(Pair("held over needed, integrals over time", "nothing was needed")));
  EXPECT_THAT(figures, Contains(Pair("limit", "5 bytes")));
}

TEST(PageTest, StandsAlone) {
  const std::string page = DrawPage(SmallHistory(), "A <title>");
  EXPECT_EQ(page.find("<!DOCTYPE html>"), 0u);
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  EXPECT_THAT(page, HasSubstr("<title>A &lt;title&gt;</title>"));
  EXPECT_THAT(page, HasSubstr("<td>1.75 (7.00 GiB s over 4.00 GiB s)</td>"));
  for (const char* outside : {"src=", "href=", "url(http", "@import", "fetch(", "innerHTML"}) {
    EXPECT_THAT(page, Not(HasSubstr(outside)));
  }
}

TEST(PageTest, TheScriptsNumbersAreTheSamples) {
  const std::string page = DrawPage(SmallHistory(), "T");
  const size_t begin = page.find("const data = ") + 13;
  std::string list = page.substr(begin, page.find("];\n", begin) - begin);
  list.erase(list.rfind(','));  // JSON takes none after the last.
  const nlohmann::json data = nlohmann::json::parse(list + "]");
  constexpr int64_t kGib = int64_t{1} << 30;
  ASSERT_EQ(data.size(), 3u);
  EXPECT_EQ(data[0], nlohmann::json({0, 0, 3 * kGib, 3 * kGib, 3 * kGib, 2 * kGib, 2 * kGib,
                                     2 * kGib, 4 * kGib, 0}));
  EXPECT_EQ(data[1], nlohmann::json({2000, 2000, kGib, kGib, kGib, 0, 0, 0, 2 * kGib, 0}));
}

}  // namespace
}  // namespace ebb::cli
