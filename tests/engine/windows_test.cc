// What windows predict, and what comes of it.
#include "engine/windows.h"

#include <memory>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "tests/engine/driven_engine.h"
#include "tests/engine/recording_sink.h"

namespace ebb::engine {
namespace {

LocalEngineOptions Options() {
  LocalEngineOptions options = DrivenOptions();
  options.step.chunk_tokens_max = 8;
  options.window.decode_max = absl::Hours(1);
  // Long enough for any prompt, whatever a step was predicted to take.
  options.window.prefill_min = options.window.prefill_max = absl::Hours(1);
  options.queue.running_sequences_max = 4;
  return options;
}

class WindowsTest : public testing::Test, protected DrivenEngine {
 protected:
  WindowsTest() : DrivenEngine(Options()) {}

  std::pair<RequestId, std::shared_ptr<RecordingSink>> Submit(int32_t prompt_tokens,
                                                              int32_t max_tokens) {
    Request request;
    for (int32_t i = 0; i < prompt_tokens; ++i) request.prompt.push_back(i % kDrivenVocabulary);
    request.sampling.temperature = 0;
    request.stopping.max_tokens = max_tokens;
    request.stopping.ignore_eos = true;
    auto sink = std::make_shared<RecordingSink>();
    const absl::StatusOr<RequestId> id = engine_->Submit(std::move(request), sink);
    EXPECT_TRUE(id.ok()) << id.status();
    return {id.ok() ? *id : 0, sink};
  }
  WindowTotals TotalsOf(memory::WindowQueue queue) {
    for (const LaneView& lane : engine_->Load().lanes) {
      if (lane.queue == queue) return lane.windows;
    }
    ADD_FAILURE() << "no such lane";
    return {};
  }
};

TEST_F(WindowsTest, WhatAnAnswerWillHoldAtAWindowsEndIsPredicted) {
  const auto [id, sink] = Submit(4, 60);
  while (sink->tokens().size() < 40) Round();
  const WindowTotals totals = TotalsOf(memory::WindowQueue::kDecode);
  // Blocks of 4 tokens, at the ends of windows of 4 steps: 2, 3, 4 ...
  EXPECT_GE(totals.used_blocks, 2 + 3 + 4 + 5 + 6 + 7 + 8 + 9);
  EXPECT_EQ(totals.error_blocks, 0);
  EXPECT_EQ(totals.predicted_blocks, totals.used_blocks);
}

// A prompt's blocks go over to decode with it, and are still what was predicted.
TEST_F(WindowsTest, APromptThatGoesOverToDecodeHoldsWhatWasPredicted) {
  const auto [id, sink] = Submit(40, 60);
  while (sink->tokens().size() < 8) Round();
  const WindowTotals totals = TotalsOf(memory::WindowQueue::kPrefill);
  // And a block for the first tokens of the answer.
  EXPECT_EQ(totals.used_blocks, 10);
  EXPECT_EQ(totals.predicted_blocks, 11);
}

TEST_F(WindowsTest, AnAnswerThatEndsWithinAWindowIsAnError) {
  const auto [id, sink] = Submit(4, 60);
  while (sink->tokens().size() < 17) Round();
  const WindowTotals before = TotalsOf(memory::WindowQueue::kDecode);
  EXPECT_EQ(before.error_blocks, 0);
  engine_->Cancel(id);
  Round();
  EXPECT_EQ(sink->Wait().reason, FinishReason::kCancelled);
  const WindowTotals after = TotalsOf(memory::WindowQueue::kDecode);
  EXPECT_GT(after.predicted_blocks, before.predicted_blocks);
  EXPECT_EQ(after.used_blocks, before.used_blocks);
  EXPECT_EQ(after.error_blocks, after.predicted_blocks - before.predicted_blocks);
}

// Nobody predicted that a limit would change.
TEST_F(WindowsTest, AWindowThatIsPlannedAnewIsNotCounted) {
  const auto [id, sink] = Submit(4, 60);
  while (sink->tokens().size() < 18) Round();
  const WindowTotals before = TotalsOf(memory::WindowQueue::kDecode);
  LimitChange change;
  change.bytes = 48 * kDrivenPageBytes;
  change.deadline = absl::Seconds(10);
  ASSERT_TRUE(engine_->BeginMemoryLimit(change).ok());
  Plan();
  EXPECT_EQ(TotalsOf(memory::WindowQueue::kDecode).predicted_blocks, before.predicted_blocks);
}

}  // namespace
}  // namespace ebb::engine
