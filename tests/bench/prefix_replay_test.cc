// The prefix cache of a real engine finds what an ideal cache of its size finds, on the beginning
// of a public trace.
#include "bench/memory/prefix_replay.h"

#include <cstdint>
#include <utility>
#include <vector>

#include "bench/memory/excerpt.h"
#include "bench/memory/ideal_prefixes.h"
#include "bench/memory/prefix_trace.h"
#include "bench/memory/step_times.h"
#include "gtest/gtest.h"

namespace ebb::bench {
namespace {

constexpr double kPoints = 0.02;

class PrefixReplayTest : public ::testing::Test {
 protected:
  static PrefixTrace At(double per_second) {
    PrefixTrace trace = ReadPrefixTrace(400);
    AtRate(per_second, &trace.arrivals);
    return trace;
  }
  static PrefixReplayOptions OptionsFor(int64_t blocks, absl::Duration idle) {
    PrefixReplayOptions options;
    options.blocks = blocks;
    options.prefix_cache.emplace();
    options.prefix_cache->idle = idle;
    return options;
  }
};

TEST_F(PrefixReplayTest, FindsWhatAnIdealCacheOfItsSizeFinds) {
  const PrefixTrace trace = At(40);
  const StepTimes times(Machine::kH100);
  for (const int64_t blocks : {1024, 3072, 10240}) {
    const PrefixReplayResult result =
        ReplayPrefixes(trace, OptionsFor(blocks, absl::Hours(24)), times);
    EXPECT_NEAR(result.hit_rate, IdealHitRate(trace, blocks, {absl::Hours(24)}), kPoints) << blocks;
    EXPECT_EQ(result.preemptions, 0) << blocks;
  }
}

// Nobody wants the memory, and in pauses nothing executes.
TEST_F(PrefixReplayTest, FindsItAfterPauses) {
  const PrefixTrace trace = At(1.5);
  const PrefixReplayResult result =
      ReplayPrefixes(trace, OptionsFor(10240, absl::Hours(24)), StepTimes(Machine::kTwoCores));
  EXPECT_NEAR(result.hit_rate, IdealHitRate(trace, 10240, {absl::Hours(24)}), kPoints);
}

TEST_F(PrefixReplayTest, FindsItWhenBlocksExpire) {
  const PrefixTrace trace = At(1.5);
  const IdealRule rule = {absl::Seconds(60)};
  const PrefixReplayResult result =
      ReplayPrefixes(trace, OptionsFor(10240, rule.idle), StepTimes(Machine::kTwoCores));
  EXPECT_GT(result.hit_rate, 0);
  EXPECT_NEAR(result.hit_rate, IdealHitRate(trace, 10240, rule), kPoints);
}

TEST_F(PrefixReplayTest, WhatIsFoundIsNotComputedAgain) {
  const PrefixTrace trace = At(40);
  const StepTimes times(Machine::kH100);
  PrefixReplayOptions options = OptionsFor(10240, absl::Hours(24));
  const PrefixReplayResult on = ReplayPrefixes(trace, options, times);
  options.prefix_cache.reset();
  const PrefixReplayResult off = ReplayPrefixes(trace, options, times);
  EXPECT_EQ(off.hit_rate, 0);
  EXPECT_GT(on.hit_rate, 0.1);
  EXPECT_NEAR(static_cast<double>(on.prefilled_tokens) / static_cast<double>(off.prefilled_tokens),
              1 - on.hit_rate, 1e-9);
  EXPECT_LT(on.first_token_mean_s, off.first_token_mean_s);
}

// Two prompts in turn: worked out by hand.
TEST(IdealPrefixesTest, KnowsWhatRecencyAndForesightFind) {
  PrefixTrace trace;
  const auto add = [&](std::vector<int32_t> blocks) {
    const auto tokens = static_cast<int64_t>(blocks.size()) * kPrefixBlockTokens;
    trace.arrivals.push_back({absl::Seconds(static_cast<double>(trace.blocks.size())), tokens, 1});
    trace.blocks.push_back(std::move(blocks));
  };
  // The last block of a prompt is never looked for: it holds the last token.
  add({0, 1});
  add({2, 3});
  add({0, 1});
  add({2, 3});
  IdealRule recency;
  recency.idle = absl::ZeroDuration();
  recency.counts_hits = false;
  recency.expires = false;
  EXPECT_DOUBLE_EQ(IdealHitRate(trace, 2, recency), 0);
  EXPECT_DOUBLE_EQ(IdealHitRate(trace, 4, recency), 2.0 / 8);
  EXPECT_DOUBLE_EQ(BestHitRate(trace, 1), 1.0 / 8);
  EXPECT_DOUBLE_EQ(BestHitRate(trace, 2), 2.0 / 8);
  IdealRule expiring = recency;
  expiring.idle = absl::Seconds(1.5);
  expiring.expires = true;
  EXPECT_DOUBLE_EQ(IdealHitRate(trace, 4, expiring), 0);
}

}  // namespace
}  // namespace ebb::bench
