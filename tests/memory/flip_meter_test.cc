#include "memory/flip_meter.h"

#include <gtest/gtest.h>

namespace ebb::memory {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1000);

absl::Time At(int seconds) { return kStart + absl::Seconds(seconds); }

TEST(FlipMeterTest, GrowthAloneAndShrinkingAloneAreNoFlips) {
  FlipMeter meter;
  meter.Note(At(0), 0, 10);
  meter.Note(At(1), 8, 10);
  EXPECT_EQ(meter.flips_total(), 0);
}

TEST(FlipMeterTest, EachUnmappedPageCountsOnce) {
  FlipMeter meter;
  meter.Note(At(0), 0, 4);
  meter.Note(At(1), 2, 4);
  meter.Note(At(2), 2, 7);
  EXPECT_EQ(meter.flips_total(), 2);
  meter.Note(At(3), 2, 9);
  EXPECT_EQ(meter.flips_total(), 2);
  // In one look: unmapped first.
  meter.Note(At(4), 3, 10);
  EXPECT_EQ(meter.flips_total(), 3);
}

TEST(FlipMeterTest, AfterAMinuteItIsNoFlipAndNoneOfTheLastMinute) {
  FlipMeter meter;
  meter.Note(At(0), 3, 3);
  EXPECT_EQ(meter.flips_total(), 3);
  meter.Note(At(1), 5, 3);
  EXPECT_EQ(meter.FlipsOfLastMinute(At(59)), 3);
  EXPECT_EQ(meter.FlipsOfLastMinute(At(60)), 0);
  meter.Note(At(60), 5, 4);
  EXPECT_EQ(meter.flips_total(), 4);
  meter.Note(At(61), 5, 5);
  EXPECT_EQ(meter.flips_total(), 4);
}

}  // namespace
}  // namespace ebb::memory
