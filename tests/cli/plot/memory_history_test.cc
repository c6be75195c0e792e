#include "cli/plot/memory_history.h"

#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace ebb::cli {
namespace {

std::string Line(int64_t ms, absl::string_view event, absl::string_view fields = "") {
  return absl::StrCat(
      "{\"time\":\"",
      absl::FormatTime("%Y-%m-%d%ET%H:%M:%E3SZ", absl::FromUnixMillis(1000000000000 + ms),
                       absl::UTCTimeZone()),
      "\",\"event\":\"", event, "\"", fields, "}\n");
}

std::string Window(int64_t ms, int64_t held, int64_t preemptions = -1) {
  return Line(ms, "window",
              absl::StrCat(",\"held_bytes\":", held, ",\"needed_bytes\":10,\"limit_bytes\":1000",
                           preemptions < 0 ? std::string()
                                           : absl::StrCat(",\"preemptions_total\":", preemptions)));
}

MemoryHistory Read(const std::string& log) {
  std::istringstream in(log);
  return ReadMemoryHistory(&in);
}

TEST(MemoryHistoryTest, OneRunOfAServer) {
  const MemoryHistory history =
      Read(Line(0, "config") + Line(1, "loading") + Line(5, "ready", R"(,"model":"tiny <llama>")") +
           Window(1000, 50, 0) + Line(1500, "request_finished", R"(,"preemptions":3)") +
           Window(2000, 70, 2) +
           Line(2500, "memory_idle", R"(,"held_bytes":0,"needed_bytes":0,"limit_bytes":1000)") +
           Line(4000, "stopped"));
  EXPECT_EQ(history.windows, 2);
  EXPECT_EQ(history.series.samples(), 3);
  EXPECT_EQ(history.requests_finished, 1);
  EXPECT_EQ(history.preemptions, 2) << "by the windows, which tell when";
  EXPECT_EQ(history.server_runs, 1);
  EXPECT_EQ(history.model, "tiny <llama>");
  EXPECT_EQ(history.first_time_ms, 1000000001000);
  EXPECT_EQ(history.series.end_ms() - history.series.start_ms(), 3000);
  EXPECT_DOUBLE_EQ(history.series.ByteSeconds(Curve::kHeld), 50 + 70 * 0.5);
  EXPECT_EQ(history.lines_foreign + history.lines_too_long + history.steps_back, 0);
}

TEST(MemoryHistoryTest, WithoutTheWindowsCountTheRequestsTell) {
  const MemoryHistory history =
      Read(Window(0, 5) + Line(1, "request_finished", R"(,"preemptions":3)") + Window(2, 5) +
           Line(3, "request_finished", R"(,"preemptions":1)"));
  EXPECT_EQ(history.preemptions, 4);
  EXPECT_EQ(history.series.preemptions(), 0);
}

TEST(MemoryHistoryTest, ALogFromTheMiddleCountsFromThere) {
  EXPECT_EQ(Read(Window(0, 5, 100) + Window(1, 5, 101)).preemptions, 1);
  EXPECT_EQ(Read(Line(0, "config") + Window(1, 5, 3)).preemptions, 3);
}

TEST(MemoryHistoryTest, TwoRunsOneAfterTheOther) {
  // The first died without a word.
  const MemoryHistory history = Read(Line(0, "config") + Window(1000, 50, 5) + Window(2000, 60, 5) +
                                     Line(60000, "config") + Window(61000, 20, 1));
  EXPECT_EQ(history.server_runs, 2);
  EXPECT_EQ(history.preemptions, 6);
  ASSERT_EQ(history.series.buckets().size(), 3u);
  EXPECT_TRUE(history.series.buckets()[2].pause_before);
  EXPECT_DOUBLE_EQ(history.series.ByteSeconds(Curve::kHeld), 50);
}

TEST(MemoryHistoryTest, TheLaterRunFirstIsDrawnInTheOrderOfTheLog) {
  const MemoryHistory history =
      Read(Line(3600000, "config") + Window(3601000, 50) + Window(3602000, 50) + Line(0, "config") +
           Window(500, 20) + Window(1500, 20));
  EXPECT_EQ(history.steps_back, 1);
  EXPECT_EQ(history.server_runs, 2);
  EXPECT_EQ(history.series.end_ms() - history.series.start_ms(), 1000 + 500 + 1000);
  EXPECT_DOUBLE_EQ(history.series.ByteSeconds(Curve::kHeld), 70);
}

TEST(MemoryHistoryTest, TwoThreadsLinesMaySwapPlaces) {
  const MemoryHistory history = Read(Window(1000, 50) + Window(990, 60) + Window(2000, 10));
  EXPECT_EQ(history.steps_back, 0);
  EXPECT_EQ(history.series.end_ms() - history.series.start_ms(), 1000);
  EXPECT_DOUBLE_EQ(history.series.ByteSeconds(Curve::kHeld), 60);
}

TEST(MemoryHistoryTest, AClockThatIsSetBackForGoodDoesNotStopTheCurves) {
  std::string log = Window(100000, 10);
  for (int i = 0; i < 10; ++i) log += Window(i * 1000, 10);
  const MemoryHistory history = Read(log);
  EXPECT_EQ(history.steps_back, 1);
  EXPECT_EQ(history.series.end_ms() - history.series.start_ms(), 9000);
}

TEST(MemoryHistoryTest, AClockThatJumpsForeverIsCutOff) {
  std::string log = Window(0, 10);
  // 1970 to 2199, again and again: more than a hundred years together.
  for (int i = 0; i < 50; ++i) {
    log += R"({"time":"1970-01-01T00:00:00Z","event":"x"})"
           "\n"
           R"({"time":"2199-01-01T00:00:00Z","event":"x"})"
           "\n";
  }
  const MemoryHistory history = Read(log + Window(1000, 10));
  EXPECT_GT(history.lines_foreign, 0);
  EXPECT_EQ(history.series.samples(), 2);
}

TEST(MemoryHistoryTest, HostileLinesAreCountedAndTheRestIsRead) {
  const std::string log = Window(0, 10) + std::string(size_t{10} << 20, '[') + "\n" +
                          std::string(50000, '[') + "\n" + "\xff\xfe\n" + "NaN\n" +
                          "Segmentation fault\n" + "\n  \r\n" + Window(1000, 30) +
                          Window(2000, 20).substr(0, 60);
  const MemoryHistory history = Read(log);
  EXPECT_EQ(history.lines_too_long, 1);
  EXPECT_EQ(history.lines_foreign, 5) << "the last one is cut short; blank ones do not count";
  EXPECT_EQ(history.series.samples(), 2);
  EXPECT_EQ(history.series.Peak(Curve::kHeld), 30);
}

TEST(MemoryHistoryTest, NothingFromNothing) {
  const MemoryHistory history = Read("");
  EXPECT_EQ(history.series.samples(), 0);
  EXPECT_EQ(history.server_runs, 0);
}

}  // namespace
}  // namespace ebb::cli
