// CudaStepRunner over the fake CUDA library: buckets, graphs, staging, results, failures.

#include "engine/cuda_step_runner.h"

#include <algorithm>
#include <limits>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "device/cuda/cuda_status.h"
#include "device/cuda/fake/fake_cuda.h"
#include "gtest/gtest.h"
#include "model/sampler.h"
#include "tests/engine/cuda_runner_fixture.h"

namespace ebb::engine {
namespace {

using device::FakeCuda;
using device::FakeCudaCall;

class CudaStepRunnerTest : public CudaRunnerTest {
 protected:
  const CudaStepPlanner& planner() const {
    return static_cast<const CudaStepRunner&>(*runner_).planner();
  }
  FakeCuda& fake() { return FakeCuda::Of(device_->context()); }
};

TEST_F(CudaStepRunnerTest, BucketsArePowersOfTwoAndTheMaximum) {
  MakeRunner(/*batch_invariant=*/false);
  EXPECT_EQ(planner().buckets(), (std::vector<int32_t>{1, 2, 4, 5}));
  EXPECT_EQ(planner().BucketOf(1), 1);
  EXPECT_EQ(planner().BucketOf(3), 4);
  EXPECT_EQ(planner().BucketOf(5), 5);
  EXPECT_EQ(planner().BucketOf(6), 0);
  StepShape shape;
  shape.row_count = shape.sequence_count = shape.logits_row_count = 3;
  EXPECT_TRUE(planner().FitsBucket(Lane::kDecode, shape));
  EXPECT_FALSE(planner().FitsBucket(Lane::kPrefill, shape));
  shape.row_count = 4;
  EXPECT_FALSE(planner().FitsBucket(Lane::kDecode, shape));
}

// The engine sizes a window's workspace by its largest step, and takes smaller ones in it.
TEST_F(CudaStepRunnerTest, WorkspaceGrowsWithTheShape) {
  MakeRunner(/*batch_invariant=*/false);
  for (const Lane lane : {Lane::kPrefill, Lane::kDecode}) {
    int64_t last_bytes = 0;
    for (int32_t rows = 1; rows <= 5; ++rows) {
      StepShape shape;
      shape.row_count = shape.sequence_count = shape.logits_row_count = rows;
      const int64_t bytes = runner_->WorkspaceBytes(lane, shape);
      EXPECT_GE(bytes, last_bytes);
      last_bytes = bytes;
      // How much the sequences have behind them makes no difference: tables have their place.
      shape.context_tokens = 500;
      EXPECT_EQ(runner_->WorkspaceBytes(lane, shape), bytes);
    }
    EXPECT_LE(last_bytes, workspace(lane).bytes());
  }
  StepShape shape;
  shape.row_count = 48;
  shape.sequence_count = 48;
  shape.logits_row_count = 48;
  EXPECT_LE(runner_->WorkspaceBytes(Lane::kPrefill, shape) -
                planner().LayOut(Lane::kPrefill, shape).staging_bytes,
            workspace(Lane::kPrefill).bytes());
}

// With one queue, the window's largest step may take prompts, and a smaller one be padded to a
// bucket.
TEST_F(CudaStepRunnerTest, AStepWithPromptsHasRoomForTheBucketsWithin) {
  for (const bool batch_invariant : {false, true}) {
    MakeRunner(batch_invariant);
    StepShape mixed;
    mixed.sequence_count = mixed.logits_row_count = 5;
    mixed.row_count = 6;
    const int64_t bytes = runner_->WorkspaceBytes(Lane::kDecode, mixed);
    EXPECT_GE(bytes, planner().LayOut(Lane::kDecode, mixed).total_bytes);
    EXPECT_GE(bytes, planner().LayOutBucket(5).total_bytes);
    EXPECT_GE(planner().StagingBytes(Lane::kDecode, mixed),
              planner().LayOutBucket(5).staging_bytes);
  }
}

// The token after a prompt, its alternatives, and each prompt token's log-probability are those of
// the model's logits read by the CPU's sampler.
TEST_F(CudaStepRunnerTest, TokensAndLogprobsAreTheSamplers) {
  MakeRunner(/*batch_invariant=*/true);
  kv_->Map(0);
  const std::vector<int32_t> ids = RandomIds(1, 21);
  const std::vector<float> logits = Logits(ids, true);
  model::SamplerScratch scratch;
  for (const bool greedy : {true, false}) {
    SequenceRows rows = Rows({0, 1}, 0, ids, true);
    rows.sampling.temperature = greedy ? 0.0 : 1.3;
    rows.sampling.top_p = 0.95;
    rows.sampling.seed = 77;
    rows.sampling.prompt_logprobs = 2;
    rows.output_index = 5;
    rows.targets.assign(ids.begin() + 1, ids.end());
    const SamplingParams params = rows.sampling;
    const auto want = model::Sample(RowOf(logits, 20), params, 5, {}, &scratch);
    ASSERT_TRUE(want.ok()) << want.status();
    const std::vector<int32_t> banned = {want->token_id};

    const StepResult result = Run(Lane::kPrefill, {rows});
    ASSERT_TRUE(result.status.ok()) << result.status;
    ASSERT_TRUE(result.sequences[0].status.ok()) << result.sequences[0].status;
    EXPECT_LE(result.started, result.ended);
    const Token& token = result.sequences[0].token;
    EXPECT_EQ(token.id, want->token_id);
    EXPECT_EQ(token.index, 5);
    EXPECT_NEAR(token.logprob, want->logprob, kLogprobTolerance);
    ASSERT_EQ(token.top.size(), 3u);
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(token.top[i].token_id, want->top[i].token_id);
    const auto& prompt = result.sequences[0].prompt_logprobs;
    ASSERT_EQ(prompt.size(), 20u);
    for (size_t i = 0; i < prompt.size(); ++i) {
      const auto target = model::LogProbs(RowOf(logits, i), ids[i + 1], 2, &scratch);
      ASSERT_TRUE(target.ok()) << target.status();
      EXPECT_EQ(prompt[i].token_id, ids[i + 1]);
      EXPECT_NEAR(prompt[i].logprob, target->logprob, kLogprobTolerance);
      ASSERT_EQ(prompt[i].top.size(), 2u);
      EXPECT_EQ(prompt[i].top[0].token_id, target->top[0].token_id);
    }

    rows.banned_ids = banned;
    const StepResult without = Run(Lane::kPrefill, {rows});
    const auto second = model::Sample(RowOf(logits, 20), params, 5, banned, &scratch);
    ASSERT_TRUE(second.ok()) << second.status();
    EXPECT_EQ(without.sequences[0].token.id, second->token_id);
    EXPECT_NE(without.sequences[0].token.id, want->token_id);
  }
}

// What prefill leaves, decode goes on from, in each bucket, whole or padded, in any place: in
// batch-invariant mode the bits are those of one prefill step over everything.
TEST_F(CudaStepRunnerTest, DecodeGoesOnFromPrefillInEachBucket) {
  MakeRunner(/*batch_invariant=*/true);
  for (int64_t page = 0; page < kKvPages; ++page) kv_->Map(page);
  const std::vector<int32_t> ids = RandomIds(2, 20);
  const StepResult whole = Run(Lane::kPrefill, {Rows({14, 15}, 0, ids, true)});
  for (int32_t company = 0; company <= 4; ++company) {
    std::vector<SequenceRows> prompts, steps;
    for (int32_t s = 0; s <= company; ++s) {
      const std::vector<int32_t> blocks = {2 * s, 2 * s + 1};
      const std::vector<int32_t> own = s == company ? ids : RandomIds(10 + s, 18);
      prompts.push_back(Rows(blocks, 0, {own.begin(), own.end() - 1}, false));
      steps.push_back(Rows(blocks, static_cast<int32_t>(own.size()) - 1, {own.back()}, true));
    }
    for (const SequenceRows& prompt : prompts) {
      const StepResult result = Run(Lane::kPrefill, {prompt});
      ASSERT_TRUE(result.status.ok()) << result.status;
    }
    const StepResult decoded = Run(Lane::kDecode, steps);
    ASSERT_TRUE(decoded.status.ok()) << decoded.status;
    ExpectSameToken(decoded.sequences.back().token, whole.sequences[0].token);
    // Several rows of one sequence fit no bucket: launched directly.
    steps.back() = Rows({2 * company, 2 * company + 1}, 17, {ids.end() - 3, ids.end()}, true);
    const StepResult direct = Run(Lane::kDecode, steps);
    ASSERT_TRUE(direct.status.ok()) << direct.status;
    ExpectSameToken(direct.sequences.back().token, whole.sequences[0].token);
  }
}

// The fast form: attention by plan, in buckets whole and padded. Kernels for other row counts sum
// in another order, and a bf16 rounding that tips over moves a logit by its share: 5 % of the
// logits' spread (about 1) at most, as in llama_cuda_test.
TEST_F(CudaStepRunnerTest, PlannedDecodeGoesOnFromPrefillInEachBucket) {
  MakeRunner(/*batch_invariant=*/false);
  for (int64_t page = 0; page < kKvPages; ++page) kv_->Map(page);
  const std::vector<int32_t> ids = RandomIds(2, 40);
  SequenceRows all = Rows({13, 14, 15}, 0, ids, true);
  all.sampling.logprobs = EBB_CUDA_TOP_MAX;
  const StepResult whole = Run(Lane::kPrefill, {all});
  const Token& want = whole.sequences[0].token;
  for (int32_t company = 0; company <= 4; ++company) {
    // Its company has one token each; a lane's length is its own. It stands first, where padding
    // looks up its tables.
    std::vector<SequenceRows> steps;
    for (int32_t s = 0; s < company; ++s) steps.push_back(Rows({12 - s}, 0, {s + 1}, true));
    ASSERT_TRUE(
        Run(Lane::kPrefill, {Rows({0, 1, 2}, 0, {ids.begin(), ids.end() - 1}, false)}).status.ok());
    SequenceRows rows = Rows({0, 1, 2}, 39, {ids.back()}, true);
    rows.sampling.logprobs = EBB_CUDA_TOP_MAX;
    steps.insert(steps.begin(), rows);
    const StepResult decoded = Run(Lane::kDecode, steps);
    ASSERT_TRUE(decoded.status.ok()) << decoded.status;
    const Token& got = decoded.sequences.front().token;
    int compared = 0;
    for (const TokenLogprob& mine : got.top) {
      for (const TokenLogprob& theirs : want.top) {
        if (mine.token_id != theirs.token_id) continue;
        EXPECT_NEAR(mine.logprob, theirs.logprob, 0.05f) << "beside " << company;
        ++compared;
      }
    }
    EXPECT_GE(compared, EBB_CUDA_TOP_MAX * 3 / 4);
  }
}

// Graphs are captured while nothing is mapped, and each replay finds the pool as it then is: grown,
// shrunk, its pages backed by other memory.
TEST_F(CudaStepRunnerTest, GraphsSurviveGrowthAndShrinking) {
  for (const bool invariant : {false, true}) {
    runner_.reset();
    MakeRunner(invariant);
    const std::vector<int32_t> ids = RandomIds(3, 30);
    std::vector<Token> first;
    const std::vector<std::vector<int32_t>> places = {{0, 1}, {4, 1}, {12, 9}, {2, 3}};
    for (const std::vector<int32_t>& blocks : places) {
      std::set<int64_t> pages;
      for (const int32_t block : blocks) pages.insert(geometry_->PageOf(block));
      for (const int64_t page : pages) kv_->Map(page);
      ASSERT_TRUE(Run(Lane::kPrefill, {Rows(blocks, 0, {ids.begin(), ids.begin() + 14}, false)})
                      .status.ok());
      std::vector<Token> tokens;
      for (int32_t i = 14; i < 20; ++i) {
        const StepResult result = Run(Lane::kDecode, {Rows(blocks, i, {ids[i]}, true)});
        ASSERT_TRUE(result.status.ok()) << result.status;
        tokens.push_back(result.sequences[0].token);
      }
      if (first.empty()) first = tokens;
      for (size_t i = 0; i < tokens.size(); ++i) ExpectSameToken(tokens[i], first[i]);
      kv_->UnmapAll();
      // The workspace goes between windows, too.
      workspace(Lane::kDecode).UnmapAll();
    }
    runner_.reset();
    kv_.reset();
  }
}

// Blocks that move with a step: it and the next ones read them where they are now.
TEST_F(CudaStepRunnerTest, MovedBlocksAreReadAtTheirNewPlaces) {
  MakeRunner(/*batch_invariant=*/true);
  kv_->MapFirst(2 * geometry_->page_bytes());
  const std::vector<int32_t> prompt = RandomIds(5, 40);
  Run(Lane::kPrefill, {Rows({0, 1, 2}, 0, prompt, true)});
  const StepResult stayed = Run(Lane::kDecode, {Rows({0, 1, 2}, 40, {17}, true)});
  ASSERT_TRUE(stayed.status.ok()) << stayed.status;
  for (const Lane lane : {Lane::kDecode, Lane::kPrefill}) {
    // Block 1 goes to the other page, block 2 into another slot of its own; then back.
    const bool back = lane == Lane::kPrefill;
    const std::vector<int32_t> from =
        back ? std::vector<int32_t>{5, 3} : std::vector<int32_t>{1, 2};
    const std::vector<int32_t> to = back ? std::vector<int32_t>{1, 2} : std::vector<int32_t>{5, 3};
    Batch batch;
    batch.lane = lane;
    for (size_t i = 0; i < from.size(); ++i) {
      batch.moves.push_back({geometry_->TableIndex(from[i]), geometry_->TableIndex(to[i])});
    }
    batch.sequences.push_back(Rows({0, to[0], to[1]}, 40, {17}, true));
    const StepResult moved = RunBatch(std::move(batch));
    ASSERT_TRUE(moved.status.ok()) << moved.status;
    ExpectSameToken(moved.sequences[0].token, stayed.sequences[0].token);
    // The old places are nobody's: what is written there changes nothing.
    Run(Lane::kPrefill, {Rows({from[0], from[1]}, 0, RandomIds(6, 32), true)});
    const StepResult after = Run(Lane::kDecode, {Rows({0, to[0], to[1]}, 40, {17}, true)});
    ASSERT_TRUE(after.status.ok()) << after.status;
    ExpectSameToken(after.sequences[0].token, stayed.sequences[0].token);
  }
}

// Both lanes have a step in flight, each with its own pinned blocks and workspace.
TEST_F(CudaStepRunnerTest, LanesRunSideBySide) {
  MakeRunner(/*batch_invariant=*/true);
  for (int64_t page = 0; page < kKvPages; ++page) kv_->Map(page);
  const std::vector<int32_t> ids = RandomIds(4, 18);
  const StepResult quiet = Run(Lane::kPrefill, {Rows({0, 1}, 0, ids, true)});
  ASSERT_TRUE(
      Run(Lane::kPrefill, {Rows({2, 3}, 0, {ids.begin(), ids.end() - 1}, false)}).status.ok());
  Submit(Lane::kPrefill, {Rows({4, 5}, 0, ids, true)});
  const StepResult decoded = [&] {
    Submit(Lane::kDecode, {Rows({2, 3}, 17, {ids[17]}, true)});
    runner_->WaitIdle();
    return *runner_->TakeResult(Lane::kDecode);
  }();
  const std::optional<StepResult> prefilled = runner_->TakeResult(Lane::kPrefill);
  ASSERT_TRUE(prefilled.has_value() && prefilled->status.ok() && decoded.status.ok());
  ExpectSameToken(prefilled->sequences[0].token, quiet.sequences[0].token);
  ExpectSameToken(decoded.sequences[0].token, quiet.sequences[0].token);
  EXPECT_FALSE(runner_->TakeResult(Lane::kDecode).has_value());
}

TEST_F(CudaStepRunnerTest, WhatTheKernelsCannotDoFailsItsSequenceAlone) {
  MakeRunner(/*batch_invariant=*/true);
  kv_->Map(0);
  const std::vector<int32_t> ids = RandomIds(5, 6);
  const StepResult alone = Run(Lane::kPrefill, {Rows({0}, 0, ids, true)});
  std::vector<SequenceRows> sequences;
  for (int32_t s = 0; s < 4; ++s) sequences.push_back(Rows({s}, 0, ids, true));
  sequences[0].sampling.logprobs = EBB_CUDA_TOP_MAX + 1;
  sequences[1].banned_ids.assign(5, 1);
  sequences[2].sampling.temperature = std::numeric_limits<double>::quiet_NaN();
  const StepResult result = Run(Lane::kPrefill, sequences);
  ASSERT_TRUE(result.status.ok()) << result.status;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(result.sequences[i].status.code(), absl::StatusCode::kInvalidArgument) << i;
  }
  EXPECT_NE(result.sequences[1].status.message().find("at most 4"), std::string::npos);
  ASSERT_TRUE(result.sequences[3].status.ok()) << result.sequences[3].status;
  ExpectSameToken(result.sequences[3].token, alone.sequences[0].token);
}

// A prompt whose logits nobody wants makes none; the rest of the step is as ever.
TEST_F(CudaStepRunnerTest, ChunksWithoutATokenHaveNoLogits) {
  MakeRunner(/*batch_invariant=*/false);
  kv_->Map(0);
  const StepResult result = Run(Lane::kPrefill, {Rows({0}, 0, RandomIds(6, 9), false)});
  ASSERT_TRUE(result.status.ok()) << result.status;
  ASSERT_EQ(result.sequences.size(), 1u);
  EXPECT_TRUE(result.sequences[0].status.ok());
  EXPECT_TRUE(result.sequences[0].prompt_logprobs.empty());
}

TEST_F(CudaStepRunnerTest, AStepThatCannotBeLaunchedFailsAndTheNextRuns) {
  MakeRunner(/*batch_invariant=*/false);
  kv_->Map(0);
  const std::vector<int32_t> ids = RandomIds(7, 5);
  ASSERT_TRUE(Run(Lane::kPrefill, {Rows({0}, 0, ids, true)}).status.ok());
  fake().FailNth(FakeCudaCall::kGraphLaunch, 1);
  StepResult failed = Run(Lane::kDecode, {Rows({0}, 5, {1}, true)});
  EXPECT_FALSE(failed.status.ok());
  EXPECT_FALSE(failed.device_lost);
  fake().FailNth(FakeCudaCall::kLaunch, 4);
  failed = Run(Lane::kPrefill, {Rows({1}, 0, ids, true)});
  EXPECT_FALSE(failed.status.ok());
  EXPECT_FALSE(failed.device_lost);
  EXPECT_TRUE(Run(Lane::kDecode, {Rows({0}, 5, {1}, true)}).status.ok());
}

TEST_F(CudaStepRunnerTest, ALostDeviceEndsEveryStepOnceAndSaysSo) {
  device::LaunchGate gate;
  MakeRunner(/*batch_invariant=*/false, &gate);
  kv_->Map(0);
  int done[2] = {0, 0};
  base::Mutex mutex;
  runner_->SetOnDone([&](Lane lane) {
    base::MutexLock lock(&mutex);
    ++done[static_cast<int>(lane)];
  });
  ASSERT_TRUE(Run(Lane::kPrefill, {Rows({0}, 0, RandomIds(8, 5), true)}).status.ok());
  workspace(Lane::kPrefill).MapFirst(workspace(Lane::kPrefill).bytes());
  fake().LoseAtLaunch(3);
  const StepResult lost = Run(Lane::kDecode, {Rows({0}, 5, {1}, true)});
  EXPECT_TRUE(lost.device_lost);
  EXPECT_TRUE(device::IsDeviceLost(lost.status)) << lost.status;
  EXPECT_TRUE(lost.sequences.empty());
  const StepResult later = Run(Lane::kPrefill, {Rows({0}, 0, RandomIds(8, 5), true)});
  EXPECT_TRUE(later.device_lost);
  EXPECT_EQ(done[0], 2);
  EXPECT_EQ(done[1], 1);
  // Whoever edits addresses is not held up by steps that are over.
  gate.Close();
  gate.Open();
}

// While the gate is closed no step starts; Submit waits.
TEST_F(CudaStepRunnerTest, StepsPassTheGate) {
  device::LaunchGate gate;
  MakeRunner(/*batch_invariant=*/false, &gate);
  kv_->Map(0);
  workspace(Lane::kPrefill).MapFirst(workspace(Lane::kPrefill).bytes());
  gate.Close();
  const int64_t runs = fake().run_count();
  std::thread submitter([&] { Submit(Lane::kPrefill, {Rows({0}, 0, RandomIds(9, 5), true)}); });
  EXPECT_EQ(fake().run_count(), runs);
  gate.Open();
  submitter.join();
  runner_->WaitIdle();
  EXPECT_TRUE(runner_->TakeResult(Lane::kPrefill)->status.ok());
  EXPECT_GT(fake().run_count(), runs);
  gate.Close();  // Returns: the step's completion has ended its launch.
  gate.Open();
}

}  // namespace
}  // namespace ebb::engine
