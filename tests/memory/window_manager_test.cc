#include "memory/window_manager.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/rng.h"
#include "tests/memory/seed.h"

namespace ebb::memory {
namespace {

constexpr int32_t kBlockTokens = 16;
constexpr int32_t kBlocksPerPage = 4;
constexpr int64_t kPage = 1000;

WindowSettings Settings() {
  WindowSettings settings;
  settings.min_length = absl::Milliseconds(20);
  settings.max_length = absl::Milliseconds(200);
  settings.decode_steps = 16;
  settings.chunk_tokens = 64;
  settings.slack_blocks = 0;
  return settings;
}

// `mapped` pages are there, `limit` pages are allowed.
WindowMemory Memory(int64_t mapped, int64_t limit, int64_t used = 0) {
  WindowMemory memory;
  memory.block_tokens = kBlockTokens;
  memory.blocks_per_page = kBlocksPerPage;
  memory.page_bytes = kPage;
  memory.page_count_max = 1000;
  memory.mapped_pages = memory.coming_pages = memory.held_pages = mapped;
  memory.empty_pages = mapped - (used + kBlocksPerPage - 1) / kBlocksPerPage;
  memory.used_blocks = used;
  memory.granted_blocks = used;
  memory.bounds.limit_bytes = limit * kPage;
  memory.bounds.held_bytes = mapped * kPage;
  memory.bounds.free_bytes = 1000000;
  return memory;
}

// 1 ms for a step and nothing for a row, whatever the shape.
StepTimeModel Model(double seconds_per_row = 1e-12) {
  StepTimeModel::Options options;
  options.prior_seconds_per_step = 1e-3;
  options.prior_seconds_per_row = seconds_per_row;
  return StepTimeModel(options);
}

const WindowManager kDecode(WindowQueue::kDecode, Settings());
const WindowManager kPrefill(WindowQueue::kPrefill, Settings());
const WindowManager kOne(WindowQueue::kOne, Settings());

TEST(DecodeWindowTest, DemandIsWhatIsThereAndWhatTheStepsWillAdd) {
  // 20 tokens: 2 blocks, 36 after 16 steps: 3. 31: 2, may make 1 only: 32, still 2. 16: 1, 32: 2.
  const std::vector<DecodeSequence> set = {{20, 100, 2}, {31, 1, 2}, {16, 16, 1}};
  const WindowPlan plan = kDecode.PlanDecode(set, Memory(1, 10, 4), Model(), false);
  EXPECT_EQ(plan.sequences, 3);
  EXPECT_EQ(plan.steps, 16);
  EXPECT_EQ(plan.static_blocks, 5);
  EXPECT_EQ(plan.static_blocks_by_usage, 4);
  EXPECT_EQ(plan.dynamic_blocks, 2);
  EXPECT_EQ(plan.demand_blocks, 7);
  EXPECT_EQ(plan.grant_blocks, 7);
  EXPECT_EQ(plan.pages_before, 1);
  EXPECT_EQ(plan.pages_after, 2);
  EXPECT_EQ(plan.request_pages, 1);
  EXPECT_EQ(plan.reason, WindowReason::kGrow);
  EXPECT_TRUE(plan.fits());
  EXPECT_EQ(plan.length, absl::Milliseconds(16));
}

TEST(DecodeWindowTest, TheEstimatorByUsageCountsWhatIsHeld) {
  WindowSettings settings = Settings();
  settings.estimator = StaticEstimator::kByUsage;
  const WindowManager manager(WindowQueue::kDecode, settings);
  // Holds 4 blocks for 20 tokens: its 16 steps are covered already.
  const WindowPlan plan = manager.PlanDecode({{20, 100, 4}}, Memory(1, 10, 4), Model(), false);
  EXPECT_EQ(plan.static_blocks, 4);
  EXPECT_EQ(plan.static_blocks_by_tokens, 2);
  EXPECT_EQ(plan.dynamic_blocks, 0);
  EXPECT_EQ(plan.reason, WindowReason::kSteady);
}

TEST(DecodeWindowTest, AnEmptySetWantsNothingNotEvenSlack) {
  WindowSettings settings = Settings();
  settings.slack_blocks = 3;
  const WindowManager manager(WindowQueue::kDecode, settings);
  const WindowPlan plan = manager.PlanDecode({}, Memory(2, 10), Model(), false);
  EXPECT_EQ(plan.reason, WindowReason::kEmpty);
  EXPECT_EQ(plan.grant_blocks, 0);
  EXPECT_EQ(plan.pages_after, 0);
}

TEST(DecodeWindowTest, SlackIsCutBeforeAnyoneMustGo) {
  WindowSettings settings = Settings();
  settings.slack_blocks = 5;
  const WindowManager manager(WindowQueue::kDecode, settings);
  WindowPlan plan = manager.PlanDecode({{32, 16, 2}}, Memory(1, 2, 2), Model(), false);
  EXPECT_EQ(plan.slack_blocks, 5);
  EXPECT_EQ(plan.demand_blocks, 8);
  plan = manager.PlanDecode({{32, 16, 2}}, Memory(1, 1, 2), Model(), false);
  EXPECT_EQ(plan.slack_blocks, 1);
  EXPECT_EQ(plan.demand_blocks, 4);
  EXPECT_TRUE(plan.fits());
}

TEST(DecodeWindowTest, WhereTheConditionFailsThePlanSaysWhatMustGoAndWhy) {
  // 3 sequences of 4 blocks that grow by 1 each: 15 blocks, but 3 pages are 12.
  const std::vector<DecodeSequence> set(3, DecodeSequence{64, 100, 4});
  WindowPlan plan = kDecode.PlanDecode(set, Memory(3, 3, 12), Model(), false);
  EXPECT_FALSE(plan.fits());
  EXPECT_EQ(plan.release_blocks, 3);
  EXPECT_EQ(plan.release_pages, 0);
  EXPECT_EQ(plan.reason, WindowReason::kLimit);
  EXPECT_EQ(plan.grant_blocks, 12);

  WindowMemory memory = Memory(3, 10, 12);
  memory.bounds.free_bytes = kPage - 1;
  EXPECT_EQ(kDecode.PlanDecode(set, memory, Model(), false).reason, WindowReason::kFree);
  memory = Memory(3, 10, 12);
  memory.bounds.lease_bytes = 3 * kPage;
  EXPECT_EQ(kDecode.PlanDecode(set, memory, Model(), false).reason, WindowReason::kLease);
  memory = Memory(3, 10, 12);
  memory.page_count_max = 3;
  EXPECT_EQ(kDecode.PlanDecode(set, memory, Model(), false).reason, WindowReason::kCeiling);
}

TEST(DecodeWindowTest, ALoweredLimitAsksForWholePages) {
  // 5 pages mapped, 4 of them in use, and only 2 (and a bit) allowed.
  WindowMemory memory = Memory(5, 2, 16);
  memory.bounds.limit_bytes += kPage / 2;
  ASSERT_EQ(memory.CapacityPages(), 2);
  const std::vector<DecodeSequence> set(4, DecodeSequence{64, 0, 4});
  const WindowPlan plan = kDecode.PlanDecode(set, memory, Model(), false);
  EXPECT_EQ(plan.release_pages, 2);
  EXPECT_EQ(plan.release_blocks, 8);
  EXPECT_EQ(plan.pages_after, 2);
  EXPECT_EQ(plan.request_pages, 0);
}

TEST(DecodeWindowTest, TheOthersBlocksAreNotThere) {
  WindowMemory memory = Memory(2, 3);
  memory.others_blocks = 7;
  const std::vector<DecodeSequence> set(1, DecodeSequence{64, 100, 0});
  EXPECT_TRUE(kDecode.PlanDecode(set, memory, Model(), false).fits());
  memory.others_blocks = 8;
  EXPECT_EQ(kDecode.PlanDecode(set, memory, Model(), false).release_blocks, 1);
}

TEST(PrefillWindowTest, LengthIsTheTimeTheSetNeedsWithinItsBounds) {
  // 64 rows of 1 ms a row and 1 ms a step: 65 ms a chunk.
  const StepTimeModel model = Model(1e-3);
  const auto length = [&](int64_t tokens) {
    return kPrefill.PlanPrefill({{0, tokens, 0, 0}}, Memory(0, 100), model, false).length;
  };
  EXPECT_EQ(length(4), absl::Milliseconds(20));
  EXPECT_NEAR(absl::ToDoubleMilliseconds(length(64)), 65, 0.01);
  EXPECT_NEAR(absl::ToDoubleMilliseconds(length(128)), 130, 0.01);
  EXPECT_EQ(length(6400), absl::Milliseconds(200));
}

TEST(PrefillWindowTest, DynamicIsWhatItProcessesAndTheFirstStepsOfWhatFinishes) {
  const StepTimeModel model = Model(1e-3);
  // 4 chunks of 65 ms start within 200 ms: 256 tokens. The first prompt finishes after 100 (and 10
  // more in decode), the second gets 156 of its 500.
  const std::vector<PrefillSequence> set = {{0, 100, 10, 0}, {20, 500, 50, 2}};
  const WindowPlan plan = kPrefill.PlanPrefill(set, Memory(0, 100, 2), model, false);
  EXPECT_EQ(plan.steps, 4);
  EXPECT_EQ(plan.static_blocks, 2);
  EXPECT_EQ(plan.dynamic_blocks, (110 + 15) / 16 + (176 + 15) / 16 - 2);
  EXPECT_EQ(plan.reason, WindowReason::kGrow);
  EXPECT_EQ(kPrefill.FirstGrowthBlocks(100, 7, 10, 1, kBlockTokens), 0);
  EXPECT_EQ(kPrefill.FirstGrowthBlocks(110, 7, 100, 1, kBlockTokens), 1);
}

// Answers to one prompt: each takes blocks of its own from the prompt's last token on.
TEST(AnswersTest, ThePromptCountsOnce) {
  // 100 tokens, 6 full blocks before the last token; 10 more: 110 take 7, the others one each.
  const std::vector<PrefillSequence> prompts = {{0, 100, 10, 0, 4}};
  const WindowPlan prefill = kPrefill.PlanPrefill(prompts, Memory(0, 100, 0), Model(), false);
  EXPECT_EQ(prefill.dynamic_blocks, 7 + 3 * 1);
  EXPECT_EQ(kPrefill.FirstGrowthBlocks(100, 7, 10, 4, kBlockTokens), 3 * 1);
  // The prompt ends with a block: the last token's row, recomputed, needs a copy of that one.
  EXPECT_EQ(kPrefill.FirstGrowthBlocks(96, 6, 1, 3, kBlockTokens), 1 + 2 * 1);
  // Not before it is done.
  const std::vector<PrefillSequence> longer = {{0, 100'000, 10, 0, 4}};
  EXPECT_EQ(kPrefill.PlanPrefill(longer, Memory(0, 100, 0), Model(1e-3), false).dynamic_blocks,
            kPrefill.PlanPrefill({{0, 100'000, 10, 0}}, Memory(0, 100, 0), Model(1e-3), false)
                .dynamic_blocks);
  EXPECT_EQ(kOne.PlanOne(prompts, {}, 40, Memory(1, 10, 0), Model()).dynamic_blocks, 7 + 3 * 1);
}

TEST(AnswersTest, ADecodingSequenceCountsWhatItDoesNotShare) {
  // 99 tokens in 7 blocks, of which 6 full ones are counted for another; the seventh is copied.
  const std::vector<DecodeSequence> set = {{99, 10, 7, 0}, {99, 10, 0, 6}};
  const WindowPlan plan = kDecode.PlanDecode(set, Memory(2, 10, 7), Model(), false);
  EXPECT_EQ(plan.static_blocks, 7 + 1);
  EXPECT_EQ(plan.dynamic_blocks, 0);  // 109 tokens: 7 blocks.
  WindowSettings by_usage = Settings();
  by_usage.estimator = StaticEstimator::kByUsage;
  const WindowPlan used = WindowManager(WindowQueue::kDecode, by_usage)
                              .PlanDecode(set, Memory(2, 10, 7), Model(), false);
  EXPECT_EQ(used.static_blocks, 7);
  EXPECT_EQ(used.dynamic_blocks, 1);
}

TEST(WindowEndTest, ByStepsInDecodeAndByLengthInPrefill) {
  const WindowPlan decode = kDecode.PlanDecode({{20, 100, 2}}, Memory(1, 9, 2), Model(), false);
  EXPECT_FALSE(kDecode.IsOver(decode, {absl::Hours(1), 15}));
  EXPECT_TRUE(kDecode.IsOver(decode, {absl::ZeroDuration(), 16}));
  const WindowPlan prefill = kPrefill.PlanPrefill({{0, 9, 0, 0}}, Memory(0, 9), Model(), false);
  EXPECT_FALSE(kPrefill.IsOver(prefill, {absl::Milliseconds(19), 100}));
  EXPECT_TRUE(kPrefill.IsOver(prefill, {absl::Milliseconds(20), 0}));
}

TEST(WindowEndTest, EarlyOnlyForAReasonAndNeverBeforeMinLength) {
  const WindowPlan plan = kDecode.PlanDecode({{20, 100, 2}}, Memory(1, 9, 2), Model(), false);
  for (bool WindowProgress::*reason :
       {&WindowProgress::set_waiting, &WindowProgress::arrivals_waiting}) {
    WindowProgress progress{absl::Milliseconds(19), 3};
    progress.*reason = true;
    EXPECT_FALSE(kDecode.IsOver(plan, progress));
    progress.elapsed = absl::Milliseconds(20);
    EXPECT_TRUE(kDecode.IsOver(plan, progress));
    progress.*reason = false;
    EXPECT_FALSE(kDecode.IsOver(plan, progress));
  }
  WindowProgress empty{absl::ZeroDuration(), 0};
  empty.set_empty = true;
  EXPECT_TRUE(kDecode.IsOver(plan, empty));
  // Under a lowered limit nothing waits.
  WindowProgress lowered{absl::ZeroDuration(), 0};
  lowered.limit_pending = true;
  EXPECT_TRUE(kDecode.IsOver(plan, lowered));
}

TEST(OneWindowTest, StepsMakeTokensAndTakePromptsTogether) {
  // 20 tokens decode: 2 blocks, 36 after 16 steps: 3. A prompt of 100 in chunks of 40 is done after
  // 3 steps: 100 tokens, and no more than 16 after them: 116, 8 blocks.
  const std::vector<DecodeSequence> decoding = {{20, 100, 2}};
  const std::vector<PrefillSequence> prompts = {{0, 100, 50, 0}};
  const WindowPlan plan = kOne.PlanOne(prompts, decoding, 40, Memory(1, 10, 2), Model());
  EXPECT_EQ(WindowQueueName(plan.queue), "one");
  EXPECT_EQ(plan.sequences, 2);
  EXPECT_EQ(plan.steps, 16);
  EXPECT_EQ(plan.length, absl::Milliseconds(16));
  EXPECT_EQ(plan.static_blocks, 2);
  EXPECT_EQ(plan.dynamic_blocks, 1 + 8);
  EXPECT_EQ(plan.demand_blocks, 11);
  EXPECT_EQ(plan.pages_after, 3);
  EXPECT_TRUE(plan.fits());
}

TEST(OneWindowTest, TheLengthIsThatOfItsSteps) {
  // A millisecond a step and one a row: two steps of 40 prompt rows beside the decode row, one of
  // 20, then the token of each, until the prompt's last: it makes its first with its last chunk.
  const StepTimeModel model = Model(1e-3);
  WindowSettings settings = Settings();
  settings.max_length = absl::Seconds(10);
  const WindowManager manager(WindowQueue::kOne, settings);
  const WindowPlan plan =
      manager.PlanOne({{0, 100, 3, 0}}, {{20, 8, 2}}, 40, Memory(1, 10, 2), model);
  EXPECT_EQ(plan.steps, 8);
  const int64_t rows = 41 + 41 + 21 + 2 + 2 + 1 + 1 + 1;
  EXPECT_NEAR(absl::ToDoubleMilliseconds(plan.length), static_cast<double>(rows + 8), 1e-3);
}

TEST(OneWindowTest, NoStepIsPlannedPastMaxLength) {
  // 0.1 s a step, of 0.2 s at most.
  const WindowPlan plan =
      kOne.PlanOne({{0, 1000, 50, 0}}, {{20, 100, 2}}, 99, Memory(1, 30, 2), Model(1e-3));
  EXPECT_EQ(plan.steps, 2);
  // The prompt's 198 tokens, and those that decoding makes.
  EXPECT_EQ(plan.demand_blocks, 13 + 2);
}

TEST(OneWindowTest, WhatIsMissingMustBeReleasedByBothTogether) {
  // 2 pages are 8 blocks; the prompt needs 7 and what decodes 3.
  const WindowPlan plan =
      kOne.PlanOne({{0, 96, 1, 0}}, {{20, 100, 2}}, 128, Memory(1, 2, 2), Model());
  EXPECT_EQ(plan.static_blocks + plan.dynamic_blocks, 10);
  EXPECT_EQ(plan.release_blocks, 2);
  EXPECT_EQ(plan.reason, WindowReason::kLimit);
}

TEST(OneWindowTest, EndsByStepsLikeDecodes) {
  const WindowPlan plan = kOne.PlanOne({}, {{20, 100, 2}}, 1, Memory(1, 9, 2), Model());
  EXPECT_FALSE(kOne.IsOver(plan, {absl::Hours(1), 15}));
  EXPECT_TRUE(kOne.IsOver(plan, {absl::ZeroDuration(), 16}));
}

// Properties that hold for any numbers.
TEST(WindowRandomTest, PlansKeepTheCondition) {
  const uint64_t seed = TestSeed(1);
  for (int run = 0; run < SeedCount(4000); ++run) {
    base::Rng rng(seed + run);
    SCOPED_TRACE(testing::Message() << "SEED=" << seed + run);
    WindowSettings settings = Settings();
    settings.slack_blocks = rng.Between(0, 6);
    settings.decode_steps = static_cast<int32_t>(rng.Between(1, 40));
    settings.estimator = rng.Chance(0.5) ? StaticEstimator::kByTokens : StaticEstimator::kByUsage;
    const int64_t mapped = rng.Between(0, 30);
    WindowMemory memory = Memory(mapped, rng.Between(0, 40));
    memory.others_blocks = rng.Between(0, 40);
    memory.bounds.free_bytes = rng.Between(0, 20) * kPage / 2;
    memory.bounds.headroom_bytes = rng.Between(0, 3) * kPage;
    memory.coming_pages += rng.Between(0, 3);
    memory.held_pages = memory.coming_pages + rng.Between(0, 2);
    memory.bounds.held_bytes = (memory.held_pages + rng.Between(0, 3)) * kPage;
    std::vector<DecodeSequence> decode;
    std::vector<PrefillSequence> prefill;
    for (int64_t left = rng.Between(0, 8); left > 0; --left) {
      const int64_t cached = rng.Between(0, 200);
      const int64_t held = (cached + 15) / 16 + rng.Between(0, 2);
      memory.used_blocks += held;
      decode.push_back({cached, rng.Between(0, 60), held});
      prefill.push_back({cached, rng.Between(0, 400), rng.Between(0, 60), held});
    }
    memory.empty_pages = rng.Between(0, mapped);
    const bool is_decode = rng.Chance(0.5);
    const bool is_one = rng.Chance(0.3);
    const WindowManager manager(is_one      ? WindowQueue::kOne
                                : is_decode ? WindowQueue::kDecode
                                            : WindowQueue::kPrefill,
                                settings);
    // One queue has some of both: here the first half decodes.
    if (is_one) {
      const auto half = static_cast<int64_t>(decode.size() / 2);
      decode.resize(static_cast<size_t>(half));
      prefill.erase(prefill.begin(), prefill.begin() + half);
    }
    const WindowPlan plan =
        is_one      ? manager.PlanOne(prefill, decode, rng.Between(1, 80), memory, Model(1e-4))
        : is_decode ? manager.PlanDecode(decode, memory, Model(1e-4), false)
                    : manager.PlanPrefill(prefill, memory, Model(1e-4), false);

    const int64_t growable = std::min(
        std::min(memory.bounds.limit_bytes, memory.bounds.lease_bytes) - memory.bounds.held_bytes,
        std::max<int64_t>(0, memory.bounds.free_bytes - memory.bounds.headroom_bytes));
    ASSERT_EQ(plan.demand_blocks, plan.static_blocks + plan.dynamic_blocks + plan.slack_blocks);
    ASSERT_GE(plan.grant_blocks, memory.used_blocks);
    ASSERT_GE(plan.static_blocks_by_usage, plan.static_blocks_by_tokens);
    ASSERT_GE(plan.dynamic_blocks, 0);
    ASSERT_LE(plan.slack_blocks, settings.slack_blocks);
    ASSERT_GE(plan.request_pages, 0);
    // What is asked for can be had: pages that are held but not coming make room first.
    ASSERT_LE((plan.request_pages - (memory.held_pages - memory.coming_pages)) * kPage,
              std::max<int64_t>(0, growable));
    if (plan.fits()) {
      // The grant lies within what can be had, and covers every sequence until the next boundary.
      ASSERT_LE(plan.grant_blocks + memory.others_blocks,
                std::max(memory.CapacityBlocks(), memory.used_blocks + memory.others_blocks));
      int64_t least = 0;
      if (is_decode || is_one) {
        const int64_t steps = is_one ? plan.steps : settings.decode_steps;
        for (const DecodeSequence& s : decode) {
          least += (s.cached_tokens + std::min(steps, s.may_make_tokens) + 15) / 16;
        }
      }
      ASSERT_GE(plan.grant_blocks, least);
      ASSERT_GE(plan.pages_after * kBlocksPerPage, plan.grant_blocks);
    } else {
      ASSERT_TRUE(plan.reason == WindowReason::kLimit || plan.reason == WindowReason::kFree ||
                  plan.reason == WindowReason::kCeiling);
      // Releasing just that much of what is used or would be makes the condition hold.
      const int64_t needed = std::max(plan.static_blocks + plan.dynamic_blocks, memory.used_blocks);
      ASSERT_EQ(
          std::max<int64_t>(0, needed - plan.release_blocks),
          std::min(needed, std::max<int64_t>(0, memory.CapacityBlocks() - memory.others_blocks)));
    }
  }
}

}  // namespace
}  // namespace ebb::memory
