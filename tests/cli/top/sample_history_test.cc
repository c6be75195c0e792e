#include "cli/top/sample_history.h"

#include "gtest/gtest.h"
#include "tests/cli/top/samples.h"

namespace ebb::cli {
namespace {

Sample Holding(double seconds, int64_t held_bytes) {
  Sample sample = BusySample(seconds);
  sample.memory.set_held_bytes(held_bytes);
  return sample;
}

// What is held in each column; -1 where nothing is known.
std::vector<int64_t> Held(const SampleHistory& history, int count, double width_seconds) {
  std::vector<int64_t> held;
  for (const MemoryColumn& column : history.Columns(count, absl::Seconds(width_seconds))) {
    held.push_back(column.known ? column.held_bytes : -1);
  }
  return held;
}

using List = std::vector<int64_t>;

TEST(SampleHistoryTest, RatesAreMeansOverTheSpan) {
  SampleHistory history;
  EXPECT_FALSE(history.RatesOver(absl::Seconds(5)).finished.has_value());
  Sample sample = BusySample(100);
  history.Add(sample);
  EXPECT_FALSE(history.RatesOver(absl::Seconds(5)).finished.has_value());
  // Nothing for a while, then five at once.
  for (int second = 101; second <= 110; ++second) {
    sample.time = At(second);
    sample.server.set_uptime_seconds(second);
    if (second == 108) sample.server.set_finished_total(sample.server.finished_total() + 5);
    history.Add(sample);
  }
  EXPECT_EQ(history.RatesOver(absl::Seconds(5)).finished, 1.0);
  EXPECT_EQ(history.RatesOver(absl::Seconds(2)).finished, 0.0);
  EXPECT_EQ(history.RatesOver(absl::Seconds(1000)).finished, 0.5);
}

TEST(SampleHistoryTest, RatesGoBackToTheSampleBeforeWhenTheSpanIsShorter) {
  SampleHistory history;
  history.Add(BusySample(10));
  history.Add(BusySample(70));
  history.Add(BusySample(130));
  EXPECT_EQ(history.RatesOver(absl::Seconds(5)).completion_tokens, 40);
}

TEST(SampleHistoryTest, RatesBeginAnewAfterSilenceAndRestart) {
  SampleHistory history;
  history.Add(BusySample(10));
  history.Add(SilentSample(11));
  EXPECT_FALSE(history.RatesOver(absl::Seconds(5)).finished.has_value());
  history.Add(BusySample(12));
  EXPECT_FALSE(history.RatesOver(absl::Seconds(5)).finished.has_value());
  history.Add(BusySample(13));
  EXPECT_EQ(history.RatesOver(absl::Seconds(5)).finished, 2);
  Sample restarted = BusySample(14);
  restarted.server.set_uptime_seconds(0.1);
  restarted.server.set_finished_total(0);
  history.Add(restarted);
  EXPECT_FALSE(history.RatesOver(absl::Seconds(5)).finished.has_value());
}

TEST(SampleHistoryTest, ColumnsKeepTheGreatestValueInThem) {
  SampleHistory history;
  EXPECT_EQ(Held(history, 3, 1), (List{-1, -1, -1}));
  EXPECT_EQ(Held(history, 0, 1), List{});
  for (const auto& [second, bytes] : {std::pair{0.1, 5}, {0.5, 9}, {0.9, 2}, {1.5, 4}, {2.1, 7}}) {
    history.Add(Holding(second, bytes));
  }
  EXPECT_EQ(Held(history, 4, 1), (List{-1, 9, 4, 7}));
  EXPECT_EQ(Held(history, 2, 1), (List{4, 7}));
  EXPECT_EQ(Held(history, 2, 2), (List{9, 7}));
}

TEST(SampleHistoryTest, AValueHoldsUntilTheNext) {
  SampleHistory history;
  history.Add(Holding(0.9, 5));
  history.Add(Holding(4.1, 6));
  EXPECT_EQ(Held(history, 5, 1), (List{5, 5, 5, 5, 6}));
}

TEST(SampleHistoryTest, NoValueHoldsOverSilenceOrARestart) {
  SampleHistory history;
  history.Add(Holding(0, 5));
  history.Add(SilentSample(2));
  history.Add(SilentSample(3));
  history.Add(Holding(5, 6));
  Sample restarted = Holding(8, 7);
  restarted.server.set_uptime_seconds(1);
  history.Add(restarted);
  history.Add(SilentSample(9));
  EXPECT_EQ(Held(history, 10, 1), (List{5, -1, -1, -1, -1, 6, -1, -1, 7, -1}));
}

// As time goes on a column moves to the left and does not change.
TEST(SampleHistoryTest, ThePastStays) {
  SampleHistory history;
  List before;
  for (int i = 0; i < 200; ++i) {
    history.Add(Holding(i * 700 / 1000.0, (i * 37) % 101));
    const List now = Held(history, 12, 2);
    if (i > 0) {
      const bool moved = i * 700 / 2000 != (i - 1) * 700 / 2000;
      // All but the two last are over.
      for (size_t at = 2; at + 1 < before.size(); ++at) EXPECT_EQ(now[at - moved], before[at]);
    }
    before = now;
  }
}

TEST(SampleHistoryTest, ForgetsWhatIsOld) {
  SampleHistory history;
  const int count = static_cast<int>(SampleHistory::kMomentsMax);
  for (int i = 0; i < count + 10; ++i) history.Add(Holding(i, 1));
  const List held = Held(history, count + 10, 1);
  EXPECT_EQ(held.front(), -1);
  EXPECT_EQ(held[10], 1);
}

TEST(ColumnWidthTest, TwoMinutesFitAndNoColumnIsBetweenTwoSamples) {
  EXPECT_EQ(ColumnWidth(120, absl::Seconds(1)), absl::Seconds(1));
  EXPECT_EQ(ColumnWidth(110, absl::Seconds(1)), absl::Seconds(2));
  EXPECT_EQ(ColumnWidth(30, absl::Milliseconds(50)), absl::Seconds(5));
  EXPECT_EQ(ColumnWidth(70, absl::Seconds(7)), absl::Seconds(10));
  EXPECT_EQ(ColumnWidth(70, absl::Hours(5)), absl::Hours(5));
  EXPECT_EQ(ColumnWidth(1, absl::Seconds(1)), absl::Seconds(120));
}

}  // namespace
}  // namespace ebb::cli
