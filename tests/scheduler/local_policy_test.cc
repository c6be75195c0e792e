#include "scheduler/local_policy.h"

#include "gtest/gtest.h"

namespace ebb::scheduler {
namespace {

using engine::PromptView;

LocalPolicyOptions Options() {
  LocalPolicyOptions options;
  options.chunk_tokens_max = 100;
  options.logits_rows_max = 10;
  options.max_gap = absl::Milliseconds(200);
  options.growth_prior_tokens = 50;
  return options;
}

PromptView Prompt(int32_t remaining, int32_t room, bool logprobs = false) {
  PromptView view;
  view.remaining_tokens = remaining;
  view.room_tokens = room;
  view.prompt_logprobs = logprobs;
  return view;
}

TEST(LocalPolicyTest, AChunkHoldsSeveralPromptsInOrder) {
  const LocalPolicy policy(Options());
  EXPECT_EQ(policy.PlanChunk({Prompt(30, 1000), Prompt(60, 16), Prompt(80, 80), Prompt(5, 5)}, 100),
            (std::vector<int32_t>{30, 16, 54, 0}));
}

TEST(LocalPolicyTest, AShortPromptNeedNotWaitForALongOne) {
  const LocalPolicy policy(Options());
  EXPECT_EQ(policy.PlanChunk({Prompt(5000, 5000), Prompt(10, 10)}, 100),
            (std::vector<int32_t>{90, 10}));
  EXPECT_EQ(policy.PlanChunk({Prompt(5000, 5000), Prompt(5000, 5000)}, 100),
            (std::vector<int32_t>{75, 25}));
  EXPECT_EQ(policy.PlanChunk({Prompt(5000, 5000)}, 100), (std::vector<int32_t>{100}));
}

TEST(LocalPolicyTest, PromptLogprobsMakeChunksSmaller) {
  const LocalPolicy policy(Options());
  EXPECT_EQ(policy.PlanChunk({Prompt(8, 8, true), Prompt(60, 60, true), Prompt(90, 90)}, 100),
            (std::vector<int32_t>{8, 2, 90}));
}

// So long for the decode rows, and 1 ms for each prompt token.
engine::ChunkTiming TimingOf(absl::Duration decode_step) {
  engine::ChunkTiming timing;
  timing.beside_decode_rows = true;
  timing.predicted_step = [decode_step](int32_t prompt_tokens) {
    return decode_step + prompt_tokens * absl::Milliseconds(1);
  };
  return timing;
}

TEST(LocalPolicyTest, PromptsBesideDecodeRowsFillTheGapAndNoMore) {
  const LocalPolicy policy(Options());
  EXPECT_EQ(policy.ChunkTokensMax(TimingOf(absl::Milliseconds(150))), 50);
  EXPECT_EQ(policy.ChunkTokensMax(TimingOf(absl::Milliseconds(100))), 100);
  EXPECT_EQ(policy.ChunkTokensMax(TimingOf(absl::Milliseconds(10))), 100) << "the options' chunk";
  // Nobody waits for the step: it takes all that the options allow, however long it lasts.
  engine::ChunkTiming alone = TimingOf(absl::Seconds(10));
  alone.beside_decode_rows = false;
  EXPECT_EQ(policy.ChunkTokensMax(alone), 100);
}

TEST(LocalPolicyTest, DecodeRowsThatFillTheGapDoNotStarvePrompts) {
  const LocalPolicy policy(Options());
  EXPECT_EQ(policy.ChunkTokensMax(TimingOf(absl::Milliseconds(190))), 47);
  EXPECT_EQ(policy.ChunkTokensMax(TimingOf(absl::Milliseconds(200))), 50);
  EXPECT_EQ(policy.ChunkTokensMax(TimingOf(absl::Milliseconds(280))), 70);
  engine::ChunkTiming wild;
  wild.beside_decode_rows = true;
  wild.predicted_step = [](int32_t prompt_tokens) { return absl::Hours(1) * (1 + prompt_tokens); };
  EXPECT_EQ(policy.ChunkTokensMax(wild), 1);
}

TEST(LocalPolicyTest, AChunkIsNoLargerThanTheStepAllows) {
  const LocalPolicy policy(Options());
  EXPECT_EQ(policy.PlanChunk({Prompt(60, 60), Prompt(30, 30)}, 40), (std::vector<int32_t>{30, 10}));
}

TEST(LocalPolicyTest, DecodeWaitsForPrefillOnlyWithinTheGap) {
  const LocalPolicy policy(Options());
  engine::DecodeTiming timing;
  timing.last_step_ended = absl::FromUnixSeconds(100);
  timing.predicted_step = absl::Milliseconds(15);
  EXPECT_EQ(policy.NextDecodeStart(timing), absl::InfinitePast());
  timing.prefill_in_flight = true;
  EXPECT_EQ(policy.NextDecodeStart(timing), absl::FromUnixSeconds(100) + absl::Milliseconds(185));
  timing.last_step_ended = absl::InfinitePast();
  EXPECT_EQ(policy.NextDecodeStart(timing), absl::InfinitePast());
}

TEST(LocalPolicyTest, StepsLongerThanTheGapDoNotStarvePrefill) {
  const LocalPolicy policy(Options());
  engine::DecodeTiming timing;
  timing.prefill_in_flight = true;
  timing.last_step_ended = absl::FromUnixSeconds(100);
  const absl::Time ended = timing.last_step_ended;
  for (const int64_t step_ms : {190, 200, 400, 800}) {
    timing.predicted_step = absl::Milliseconds(step_ms);
    EXPECT_EQ(policy.NextDecodeStart(timing), ended + timing.predicted_step / 4) << step_ms;
  }
  // A wild prediction keeps decode waiting no longer than the gap.
  timing.predicted_step = absl::Seconds(3600);
  EXPECT_EQ(policy.NextDecodeStart(timing), ended + Options().max_gap);
}

}  // namespace
}  // namespace ebb::scheduler
