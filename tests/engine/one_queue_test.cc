// An engine with one queue, driven by hand: a step makes tokens and takes prompts, in one lane.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock_fake.h"
#include "base/log.h"
#include "device/stream_fake.h"
#include "device/vmm_fake.h"
#include "engine/local_engine.h"
#include "engine/step_runner_fake.h"
#include "gtest/gtest.h"
#include "memory/kv_memory.h"
#include "scheduler/local_policy.h"
#include "tests/engine/recording_sink.h"
#include "tests/engine/small_engine.h"

namespace ebb::engine {
namespace {

constexpr int32_t kVocabulary = 64;
constexpr int64_t kGranularity = 4096;

class WindowLog final : public base::Log {
 public:
  void Write(absl::string_view event, nlohmann::ordered_json fields) override {
    if (event == "window") windows.push_back(std::move(fields));
  }
  std::vector<nlohmann::ordered_json> windows;
};

// Blocks of 4 tokens, pages of 16 tokens, room for 32 pages, chunks of 8.
class OneQueueTest : public testing::Test {
 protected:
  void SetUp() override { Open(absl::Milliseconds(100)); }

  void Open(absl::Duration max_gap) {
    options_.queue.queues = Queues::kOne;
    options_.queue.running_sequences_max = 4;
    options_.step.chunk_tokens_max = 8;
    options_.step.max_gap = max_gap;
    options_.memory.limit_bytes = 32 * kGranularity;
    options_.memory.ceiling_bytes = 64 * kGranularity;
    options_.memory.headroom_bytes = 0;
    options_.memory.slack_pages = 0;
    Close();
    memory_ = *memory::KvMemory::Create(SmallGeometry(kGranularity),
                                        SmallMemory(options_, 4 * kGranularity), &vmm_);
    runner_ = std::make_unique<FakeStepRunner>(
        SmallRunner(memory_.get(), streams_, &vmm_, &clock_, kVocabulary, Queues::kOne));
    policy_ =
        std::make_unique<scheduler::LocalPolicy>(scheduler::LocalPolicy::OptionsFrom(options_));
    EngineParts parts{&clock_,
                      &log_,
                      &vmm_,
                      memory_.get(),
                      runner_.get(),
                      policy_.get(),
                      {kVocabulary, 128, {7}}};
    engine_ = *LocalEngine::Create(options_, parts);
  }
  void Close() {
    if (engine_ == nullptr) return;
    engine_->BeginDrain(absl::ZeroDuration());
    for (int i = 0; i < 4; ++i) Round();
    EXPECT_TRUE(engine_->Shutdown().ok());
    engine_ = nullptr;
    memory_ = nullptr;
  }
  void TearDown() override { Close(); }

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
  // Keeper and loop until neither moves; no step completes.
  void Plan() {
    for (int i = 0; i < 10; ++i) {
      engine_->keeper().RunOnce();
      engine_->decode().RunOnce();
    }
  }
  // The step in flight completes; the next one is in flight.
  void Round() {
    Plan();
    streams_[1].RunAll();
    Plan();
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

  LocalEngineOptions options_;
  base::FakeClock clock_;
  WindowLog log_;
  device::FakeVmm vmm_{SmallVmm(kGranularity, 128 * kGranularity)};
  std::unique_ptr<memory::KvMemory> memory_;
  device::FakeStream streams_[2];
  std::unique_ptr<FakeStepRunner> runner_;
  std::unique_ptr<scheduler::LocalPolicy> policy_;
  std::unique_ptr<LocalEngine> engine_;
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

// Before a step has run the model predicts 5 ms a step and 1 ms a row.
TEST_F(OneQueueTest, ThePromptsOfAStepLeaveItWithinTheGap) {
  Open(absl::Microseconds(10'500));
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
