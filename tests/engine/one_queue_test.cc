// An engine with one queue, driven by hand: a step makes tokens and takes prompts, in one lane.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "engine/local_engine.h"
#include "gtest/gtest.h"
#include "tests/engine/driven_engine.h"
#include "tests/engine/recording_sink.h"

namespace ebb::engine {
namespace {

constexpr int32_t kVocabulary = kDrivenVocabulary;
constexpr int64_t kGranularity = kDrivenPageBytes;

class WindowLog final : public base::Log {
 public:
  void Write(absl::string_view event, nlohmann::ordered_json fields) override {
    if (event == "window") windows.push_back(std::move(fields));
  }
  std::vector<nlohmann::ordered_json> windows;
};

LocalEngineOptions Options(absl::Duration max_gap) {
  LocalEngineOptions options;
  options.queue.queues = Queues::kOne;
  options.queue.running_sequences_max = 4;
  options.step.chunk_tokens_max = 8;
  options.step.max_gap = max_gap;
  options.memory.limit_bytes = 32 * kGranularity;
  options.memory.ceiling_bytes = 64 * kGranularity;
  options.memory.headroom_bytes = 0;
  options.memory.slack_pages = 0;
  return options;
}

struct WithLog {
  WindowLog log_;
};

// Room for 32 pages, chunks of 8; steps take no time of themselves.
class OneQueueTest : public testing::Test, protected WithLog, protected DrivenEngine {
 protected:
  explicit OneQueueTest(absl::Duration max_gap = absl::Milliseconds(100))
      : DrivenEngine(Options(max_gap), &log_, absl::ZeroDuration()) {}

  std::shared_ptr<RecordingSink> Submit(int32_t prompt_tokens, int32_t max_tokens) {
    Request request;
    for (int32_t i = 0; i < prompt_tokens; ++i) request.prompt.push_back(i % kVocabulary);
    request.sampling.temperature = 0;
    request.stopping.max_tokens = max_tokens;
    request.stopping.ignore_eos = true;
    auto sink = std::make_shared<RecordingSink>();
    EXPECT_TRUE(engine_->Submit(std::move(request), sink).ok());
    return sink;
  }
  // One that decodes, and a prompt that was admitted at a boundary.
  std::pair<std::shared_ptr<RecordingSink>, std::shared_ptr<RecordingSink>> DecodingAndPrompt() {
    auto decoding = Submit(4, 60);
    while (decoding->tokens().empty()) Round();
    auto prompt = Submit(60, 4);
    clock_.Advance(options_.window.decode_min);
    while (ComputedOf(2) == 0) Round();
    return {decoding, prompt};
  }
  int32_t ComputedOf(RequestId id) {
    base::MutexLock lock(&engine_->core().mutex);
    for (const Sequence* sequence : engine_->core().order()) {
      if (sequence->id == id) return sequence->computed_tokens;
    }
    return -1;
  }
};

TEST_F(OneQueueTest, AStepMakesATokenForEachAndTakesAChunkOfPrompts) {
  auto [decoding, prompt] = DecodingAndPrompt();
  for (int step = 0; step < 4; ++step) {
    const size_t tokens = decoding->tokens().size();
    const int32_t computed = ComputedOf(2);
    const int64_t submitted = runner_->submit_count();
    Round();
    EXPECT_EQ(runner_->submit_count(), submitted + 1);
    EXPECT_EQ(decoding->tokens().size(), tokens + 1);
    EXPECT_EQ(ComputedOf(2), computed + 8);
  }
  EXPECT_EQ(streams_[0].submitted(), 0u) << "a step in prefill's lane";
  for (int i = 0; i < 100; ++i) Round();
  EXPECT_EQ(decoding->Wait().reason, FinishReason::kLength);
  EXPECT_EQ(prompt->Wait().reason, FinishReason::kLength);
}

class OneQueueShortGapTest : public OneQueueTest {
 protected:
  OneQueueShortGapTest() : OneQueueTest(absl::Microseconds(10'500)) {}
};

// Before a step has run the model predicts 5 ms a step and 1 ms a row.
TEST_F(OneQueueShortGapTest, ThePromptsOfAStepLeaveItWithinTheGap) {
  auto [decoding, prompt] = DecodingAndPrompt();
  for (int step = 0; step < 4; ++step) {
    const int32_t computed = ComputedOf(2);
    Round();
    EXPECT_EQ(ComputedOf(2), computed + 4);
  }
}

TEST_F(OneQueueTest, OneWindowOneAccountAndOneWorkspaceServeBoth) {
  auto [decoding, prompt] = DecodingAndPrompt();
  ASSERT_FALSE(log_.windows.empty());
  const nlohmann::ordered_json& window = log_.windows.back();
  EXPECT_EQ(window["queue"], "one");
  EXPECT_EQ(window["sequences"], 2);
  EXPECT_GE(window["demand_blocks"], (60 + 4 - 1) / 4) << "the whole prompt comes in it";
  memory::Accounts& accounts = memory_->accounts();
  EXPECT_EQ(accounts.granted(memory::AccountId::kPrefill), 0);
  EXPECT_EQ(accounts.granted(memory::AccountId::kDecode), window["grant_blocks"]);
  EXPECT_EQ(memory_->pools().size(), 2u) << "a workspace and the KV pages";
}

// A boundary of the one queue is everybody's: it preempts from behind at once, for prompts too.
TEST_F(OneQueueTest, ALoweredLimitPreemptsFromBehindAndTheTokensStay) {
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  for (int i = 0; i < 3; ++i) sinks.push_back(Submit(60, 20));
  while (sinks[1]->tokens().empty()) Round();
  const int64_t limit = 9 * kGranularity;  // A request has 4 to 5 pages; beside a workspace.
  ASSERT_GT(engine_->Memory().held_bytes, limit);
  const auto call = engine_->BeginMemoryLimit({limit, absl::Milliseconds(100)});
  ASSERT_TRUE(call.ok());
  for (int i = 0; i < 3; ++i) Round();
  const LimitAnswer answer = engine_->MemoryLimitAnswer(*call);
  EXPECT_TRUE(answer.applied);
  EXPECT_GE(answer.preempted_count, 1);
  for (int i = 0; i < 400; ++i) {
    clock_.Advance(absl::Milliseconds(20));
    Round();
  }
  for (const auto& sink : sinks) EXPECT_EQ(sink->Wait().reason, FinishReason::kLength);
  EXPECT_EQ(sinks[0]->Wait().preemptions, 0) << "the first of the order never gives way";
  EXPECT_EQ(sinks[0]->tokens(), sinks[1]->tokens());
  EXPECT_EQ(sinks[0]->tokens(), sinks[2]->tokens());
}

// A limit lowered below what a step needs beside the first request: the request gives way to its
// own next window only where that helps.
TEST_F(OneQueueTest, ARequestThatFitsIsNotPreemptedForItsGrowth) {
  auto sink = Submit(44, 30);
  while (ComputedOf(1) == 0) Round();
  // Three pages for 48 tokens, and a workspace of one.
  ASSERT_TRUE(engine_->BeginMemoryLimit({4 * kGranularity, absl::Milliseconds(100)}).ok());
  for (int i = 0; i < 20; ++i) Round();
  EXPECT_EQ(engine_->Load().preemptions_total, 0);
  EXPECT_FALSE(sink->tokens().empty());
}

TEST_F(OneQueueTest, ACancelledPromptLeavesTheOthersTheirSteps) {
  auto [decoding, prompt] = DecodingAndPrompt();
  engine_->Cancel(2);
  Round();
  EXPECT_EQ(prompt->Wait().reason, FinishReason::kCancelled);
  const size_t tokens = decoding->tokens().size();
  Round();
  EXPECT_EQ(decoding->tokens().size(), tokens + 1);
}

TEST_F(OneQueueTest, AFailedStepEndsAllThatWereInItAndNothingElse) {
  auto [decoding, prompt] = DecodingAndPrompt();
  runner_->FailNext(Lane::kDecode, absl::UnknownError("the machine hiccuped"));
  Round();
  EXPECT_EQ(decoding->Wait().status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(prompt->Wait().status.code(), absl::StatusCode::kInternal);
  auto fine = Submit(4, 5);
  for (int i = 0; i < 20; ++i) Round();
  EXPECT_EQ(fine->Wait().reason, FinishReason::kLength);
}

}  // namespace
}  // namespace ebb::engine
