// Rows with penalties and biases, through CudaStepRunner over the fake CUDA library: their tokens
// are those of the CPU's sampler on the same logits, and nobody beside them is any the worse.

#include "engine/cuda_step_adjust.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include "device/cuda/fake/fake_cuda.h"
#include "gtest/gtest.h"
#include "model/logit_adjustments.h"
#include "model/sampler.h"
#include "tests/engine/cuda_runner_fixture.h"

namespace ebb::engine {
namespace {

using device::FakeCuda;
using device::FakeCudaCall;
using model::LogitAdjustments;

SamplingParams Strong() {
  SamplingParams params;
  params.repetition_penalty = 3;
  params.presence_penalty = 1.5;
  params.frequency_penalty = -0.5;
  return params;
}

class CudaStepAdjustTest : public CudaRunnerTest {
 protected:
  FakeCuda& fake() { return FakeCuda::Of(device_->context()); }

  // The CPU's choice from the last row of the ids' logits.
  model::SampledToken Wanted(const std::vector<int32_t>& ids, const SequenceRows& rows) {
    const std::vector<float> logits = Logits(ids, true);
    model::SamplerScratch scratch;
    const auto sampled =
        model::Sample(RowOf(logits, ids.size() - 1), rows.sampling, rows.output_index,
                      rows.banned_ids, &scratch, rows.adjustments->entries());
    EXPECT_TRUE(sampled.ok()) << sampled.status();
    return *sampled;
  }
  void ExpectToken(const SequenceResult& result, const model::SampledToken& want) {
    ASSERT_TRUE(result.status.ok()) << result.status;
    EXPECT_EQ(result.token.id, want.token_id);
    EXPECT_NEAR(result.token.logprob, want.logprob, kLogprobTolerance);
    ASSERT_EQ(result.token.top.size(), want.top.size());
    for (size_t i = 0; i < want.top.size(); ++i) {
      EXPECT_EQ(result.token.top[i].token_id, want.top[i].token_id);
      EXPECT_NEAR(result.token.top[i].logprob, want.top[i].logprob, kLogprobTolerance);
    }
  }
};

// Chosen greedily and drawn, with bans beside the penalties; log-probabilities are those of the
// model's own logits, and to the bit those that the token has as a prompt's.
TEST_F(CudaStepAdjustTest, TokensAndLogprobsAreTheSamplers) {
  MakeRunner(/*batch_invariant=*/true);
  kv_->Map(0);
  const std::vector<int32_t> ids = RandomIds(1, 21);
  int adjusted_choices = 0;
  for (int round = 0; round < 12; ++round) {
    SequenceRows rows = Rows({0, 1}, 0, ids, true);
    rows.sampling = Strong();
    rows.sampling.temperature = round % 2 == 0 ? 0.0 : 1.3;
    rows.sampling.top_k = round % 3 == 0 ? 40 : 0;
    rows.sampling.seed = static_cast<uint64_t>(round);
    rows.sampling.logprobs = 3;
    rows.output_index = round;
    // The likely tokens of the raw logits come to be the answer so far.
    LogitAdjustments adjustments(rows.sampling, {{7, 60.0f}, {8, 60.5f}}, ids);
    rows.adjustments = &adjustments;
    const model::SampledToken first = Wanted(ids, rows);
    for (int i = 0; i < round; ++i) adjustments.Add(first.token_id);
    if (round % 4 == 3) rows.banned_ids = {first.token_id, 8};

    const model::SampledToken want = Wanted(ids, rows);
    const StepResult result = Run(Lane::kPrefill, {rows});
    ASSERT_TRUE(result.status.ok()) << result.status;
    ExpectToken(result.sequences[0], want);
    if (adjustments.Find(want.token_id) >= 0) ++adjusted_choices;

    std::vector<int32_t> with_target = ids;
    with_target.push_back(want.token_id);
    SequenceRows target = Rows({0, 1}, 0, with_target, false);
    target.sampling.prompt_logprobs = 0;
    target.targets.assign(with_target.begin() + 1, with_target.end());
    const StepResult as_prompt = Run(Lane::kPrefill, {target});
    EXPECT_EQ(result.sequences[0].token.logprob,
              as_prompt.sequences[0].prompt_logprobs.back().logprob);
  }
  EXPECT_GT(adjusted_choices, 0);
  EXPECT_LT(adjusted_choices, 12);
}

// In every bucket, whole or padded, and in steps that fit none; the sequences without adjustments
// get what they get without that company.
TEST_F(CudaStepAdjustTest, EveryBucketAndEveryCompany) {
  MakeRunner(/*batch_invariant=*/true);
  for (int64_t page = 0; page < kKvPages; ++page) kv_->Map(page);
  for (int32_t company = 0; company <= 4; ++company) {
    std::vector<std::vector<int32_t>> ids;
    std::vector<SequenceRows> steps;
    std::vector<LogitAdjustments> adjustments;
    adjustments.reserve(5);
    for (int32_t s = 0; s <= company; ++s) {
      const std::vector<int32_t> blocks = {2 * s, 2 * s + 1};
      ids.push_back(RandomIds(10 + s, 18));
      ASSERT_TRUE(Run(Lane::kPrefill, {Rows(blocks, 0, {ids[s].begin(), ids[s].end() - 1}, false)})
                      .status.ok());
      steps.push_back(Rows(blocks, 17, {ids[s].back()}, true));
    }
    const StepResult plain = Run(Lane::kDecode, steps);
    ASSERT_TRUE(plain.status.ok()) << plain.status;
    for (int32_t s = 0; s <= company; ++s) {
      adjustments.emplace_back(Strong(), std::vector<LogitBias>{}, ids[s]);
      adjustments.back().Add(plain.sequences[s].token.id);
      if (s % 2 == 0) steps[s].adjustments = &adjustments.back();
      steps[s].sampling.logprobs = s == 2 ? -1 : 3;
    }
    for (const Lane lane : {Lane::kDecode, Lane::kPrefill}) {
      SCOPED_TRACE(testing::Message()
                   << "company " << company << " lane " << static_cast<int>(lane));
      const StepResult result = Run(lane, steps);
      ASSERT_TRUE(result.status.ok()) << result.status;
      for (int32_t s = 0; s <= company; ++s) {
        if (s % 2 == 1) {
          ExpectSameToken(result.sequences[s].token, plain.sequences[s].token);
          continue;
        }
        model::SampledToken want = Wanted(ids[s], steps[s]);
        if (s == 2) {
          EXPECT_EQ(result.sequences[s].token.id, want.token_id);
          continue;
        }
        ExpectToken(result.sequences[s], want);
      }
    }
  }
}

// A row that is both a prompt token's and the choice's, as after a preemption.
TEST_F(CudaStepAdjustTest, PromptLogprobsBesideAreAsEver) {
  MakeRunner(/*batch_invariant=*/true);
  kv_->Map(0);
  const std::vector<int32_t> ids = RandomIds(3, 12);
  SequenceRows rows = Rows({0}, 0, ids, true);
  rows.sampling.prompt_logprobs = 2;
  rows.targets.assign(ids.begin() + 1, ids.end());
  rows.targets.push_back(5);
  const StepResult plain = Run(Lane::kPrefill, {rows});
  const LogitAdjustments adjustments(Strong(), {}, ids);
  for (const int32_t logprobs : {-1, 0, 4}) {
    rows.sampling.logprobs = logprobs;
    rows.adjustments = &adjustments;
    const StepResult result = Run(Lane::kPrefill, {rows});
    ASSERT_TRUE(result.status.ok() && result.sequences[0].status.ok());
    EXPECT_EQ(result.sequences[0].token.id, Wanted(ids, rows).token_id);
    const auto& got = result.sequences[0].prompt_logprobs;
    const auto& want = plain.sequences[0].prompt_logprobs;
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) {
      EXPECT_EQ(got[i].logprob, want[i].logprob);
      ASSERT_EQ(got[i].top.size(), 2u);
      EXPECT_EQ(got[i].top[1].logprob, want[i].top[1].logprob);
    }
  }
}

TEST_F(CudaStepAdjustTest, WhatGoesWrongFailsItsSequenceAlone) {
  MakeRunner(/*batch_invariant=*/true);
  kv_->Map(0);
  const std::vector<int32_t> ids = RandomIds(5, 6);
  const StepResult alone = Run(Lane::kPrefill, {Rows({2}, 0, ids, true)});
  std::vector<LogitBias> endless;
  for (int32_t id = 0; id < model_->config().vocab; ++id) endless.push_back({id, 3e38f});
  SamplingParams tiny = Strong();
  tiny.repetition_penalty = 1e-6;
  LogitAdjustments infinite(tiny, endless, ids);
  const LogitAdjustments fine(Strong(), {}, ids);
  std::vector<SequenceRows> sequences;
  for (int32_t s = 0; s < 3; ++s) sequences.push_back(Rows({s}, 0, ids, true));
  sequences[0].adjustments = &infinite;
  sequences[1].adjustments = &fine;
  sequences[1].sampling.repetition_penalty = std::nan("");
  const StepResult result = Run(Lane::kPrefill, sequences);
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.sequences[0].status.message(), "a logit is +infinity");
  EXPECT_EQ(result.sequences[1].status.code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(result.sequences[2].status.ok());
  ExpectSameToken(result.sequences[2].token, alone.sequences[0].token);
}

// Pinned memory is taken for the first step that needs it, grows by doubling, and when there is
// none it is the sequence that fails.
TEST_F(CudaStepAdjustTest, MemoryIsTakenWhenItIsNeeded) {
  MakeRunner(/*batch_invariant=*/true);
  kv_->Map(0);
  const std::vector<int32_t> ids = RandomIds(6, 10);
  const int64_t before = fake().host_alloc_bytes();
  SequenceRows rows = Rows({0}, 0, ids, true);
  ASSERT_TRUE(Run(Lane::kPrefill, {rows}).sequences[0].status.ok());
  EXPECT_EQ(fake().host_alloc_bytes(), before);

  const LogitAdjustments adjustments(Strong(), {}, ids);
  rows.adjustments = &adjustments;
  const SequenceRows plain = Rows({1}, 0, ids, true);
  fake().FailNth(FakeCudaCall::kHostAlloc, 1);
  const StepResult failed = Run(Lane::kPrefill, {rows, plain});
  ASSERT_TRUE(failed.status.ok()) << failed.status;
  EXPECT_EQ(failed.sequences[0].status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(failed.sequences[1].status.ok()) << failed.sequences[1].status;

  const StepResult once = Run(Lane::kPrefill, {rows, plain});
  ExpectToken(once.sequences[0], Wanted(ids, rows));
  const int64_t taken = fake().host_alloc_bytes();
  EXPECT_GT(taken, before);
  Run(Lane::kPrefill, {rows, plain});
  EXPECT_EQ(fake().host_alloc_bytes(), taken);
}

TEST_F(CudaStepAdjustTest, AFailedLaunchFailsTheStepAndTheNextRuns) {
  MakeRunner(/*batch_invariant=*/false);
  kv_->Map(0);
  const std::vector<int32_t> ids = RandomIds(7, 5);
  ASSERT_TRUE(Run(Lane::kPrefill, {Rows({0}, 0, ids, true)}).status.ok());
  const LogitAdjustments adjustments(Strong(), {}, ids);
  SequenceRows rows = Rows({0}, 5, {1}, true);
  rows.adjustments = &adjustments;
  // The graph is one call; the second pass launches kernels of its own.
  fake().FailNth(FakeCudaCall::kLaunch, 2);
  const StepResult failed = Run(Lane::kDecode, {rows});
  EXPECT_FALSE(failed.status.ok());
  EXPECT_FALSE(failed.device_lost);
  EXPECT_TRUE(Run(Lane::kDecode, {rows}).status.ok());
}

}  // namespace
}  // namespace ebb::engine
