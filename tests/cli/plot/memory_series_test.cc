#include "cli/plot/memory_series.h"

#include <algorithm>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "tests/server/test_seed.h"

namespace ebb::cli {
namespace {

TEST(MemorySeriesTest, FewSamplesAreKeptAsTheyAre) {
  MemorySeries series;
  series.Add(1000, {10, 5, 100}, 0);
  series.Add(1250, {30, 5, 100}, 2);
  series.Add(2000, {20, 4, 50}, 0);
  ASSERT_EQ(series.buckets().size(), 3u);
  EXPECT_EQ(series.buckets()[1].first_ms, 1250);
  EXPECT_EQ(series.buckets()[1].of(Curve::kHeld).last, 30);
  EXPECT_EQ(series.buckets()[1].preemptions, 2);
  EXPECT_EQ(series.buckets()[2].limit_changes, 1);
  EXPECT_EQ(series.limit_changes(), 1);
  EXPECT_EQ(series.Peak(Curve::kHeld), 30);
  EXPECT_DOUBLE_EQ(series.ByteSeconds(Curve::kHeld), 10 * 0.25 + 30 * 0.75);
  EXPECT_DOUBLE_EQ(series.ByteSeconds(Curve::kNeeded), 5);
}

TEST(MemorySeriesTest, APauseEndsTheCurvesAndCountsNothing) {
  MemorySeries series;
  series.Pause(5);  // Before anything: nothing to end.
  series.Add(0, {10, 1, 100}, 0);
  series.Pause(1000);
  series.Pause(9000);
  series.Add(20000, {40, 1, 70}, 0);
  series.Pause(0);  // Earlier than the last sample: from there.
  ASSERT_EQ(series.buckets().size(), 3u);
  EXPECT_EQ(series.buckets()[1].first_ms, 1000);
  EXPECT_FALSE(series.buckets()[1].pause_before);
  EXPECT_TRUE(series.buckets()[2].pause_before);
  EXPECT_EQ(series.limit_changes(), 0) << "another server's limit is no change";
  EXPECT_EQ(series.end_ms(), 20000);
  EXPECT_EQ(series.samples(), 2);
  EXPECT_DOUBLE_EQ(series.ByteSeconds(Curve::kHeld), 10);
}

// Against all samples kept: nothing is lost but the moment within a bucket.
TEST(MemorySeriesTest, LongSeriesKeepEveryPeakAndExactSums) {
  base::Rng rng(tests::TestSeed());
  for (int round = 0; round < 20; ++round) {
    const int64_t gap_max = rng.Between(0, 2000);
    struct Sample {
      int64_t time_ms;
      MemorySample memory;
    };
    std::vector<Sample> all;
    MemorySeries series;
    int64_t now = rng.Between(0, 1000000), preemptions = 0;
    for (int64_t i = rng.Between(1, 20000); i > 0; --i) {
      const Sample sample = {now,
                             {rng.Between(0, 1000), rng.Between(0, 1000), rng.Between(900, 902)}};
      const int64_t preempted = rng.Chance(0.1) ? rng.Between(1, 3) : 0;
      preemptions += preempted;
      series.Add(now, sample.memory, preempted);
      all.push_back(sample);
      now += rng.Between(0, gap_max);
    }
    ASSERT_LE(series.buckets().size(), MemorySeries::kBucketsMax);
    EXPECT_EQ(series.samples(), static_cast<int64_t>(all.size()));
    EXPECT_EQ(series.preemptions(), preemptions);
    double held = 0;
    int64_t changes = 0;
    for (size_t i = 1; i < all.size(); ++i) {
      held += static_cast<double>(all[i - 1].memory.held_bytes) *
              static_cast<double>(all[i].time_ms - all[i - 1].time_ms) / 1000;
      changes += all[i].memory.limit_bytes != all[i - 1].memory.limit_bytes;
    }
    EXPECT_NEAR(series.ByteSeconds(Curve::kHeld), held, 1e-9 * held);
    EXPECT_EQ(series.limit_changes(), changes);
    size_t at = 0;
    int64_t bucket_preemptions = 0, bucket_changes = 0;
    const int64_t span = all.back().time_ms - all.front().time_ms;
    for (const Bucket& bucket : series.buckets()) {
      ASSERT_LT(at, all.size());
      EXPECT_EQ(bucket.first_ms, all[at].time_ms);
      EXPECT_EQ(bucket.of(Curve::kHeld).first, all[at].memory.held_bytes);
      // At least half of the buckets would be needed for the span: columns stay fine.
      EXPECT_LE(bucket.last_ms - bucket.first_ms,
                2 * span / static_cast<int64_t>(MemorySeries::kBucketsMax));
      Extent expected = {0, INT64_MAX, 0, 0};
      for (; at < all.size() && all[at].time_ms <= bucket.last_ms; ++at) {
        expected.min = std::min(expected.min, all[at].memory.needed_bytes);
        expected.max = std::max(expected.max, all[at].memory.needed_bytes);
        expected.last = all[at].memory.needed_bytes;
      }
      EXPECT_EQ(bucket.of(Curve::kNeeded).min, expected.min);
      EXPECT_EQ(bucket.of(Curve::kNeeded).max, expected.max);
      EXPECT_EQ(bucket.of(Curve::kNeeded).last, expected.last);
      bucket_preemptions += bucket.preemptions;
      bucket_changes += bucket.limit_changes;
    }
    EXPECT_EQ(at, all.size());
    EXPECT_EQ(bucket_preemptions, preemptions);
    EXPECT_EQ(bucket_changes, changes);
  }
}

TEST(MemorySeriesTest, ACenturyFits) {
  MemorySeries series;
  const int64_t century = int64_t{100} * 365 * 86400 * 1000;
  series.Add(0, {1, 1, 1}, 0);
  series.Add(century, {int64_t{1} << 60, 1, 1}, 0);
  EXPECT_EQ(series.buckets().size(), 2u);
  EXPECT_EQ(series.Peak(Curve::kHeld), int64_t{1} << 60);
}

}  // namespace
}  // namespace ebb::cli
