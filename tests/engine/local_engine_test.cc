// LocalEngine driven by hand: nothing happens until the test says so.

#include "engine/local_engine.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "gtest/gtest.h"
#include "tests/engine/driven_engine.h"
#include "tests/engine/recording_sink.h"

namespace ebb::engine {
namespace {

constexpr int32_t kVocabulary = kDrivenVocabulary;
constexpr int64_t kGranularity = kDrivenPageBytes;

class LineLog final : public base::Log {
 public:
  void Write(absl::string_view event, nlohmann::ordered_json fields) override {
    lines.emplace_back(std::string(event), std::move(fields));
  }
  const nlohmann::ordered_json* Last(const std::string& event) const {
    for (auto it = lines.rbegin(); it != lines.rend(); ++it) {
      if (it->first == event) return &it->second;
    }
    return nullptr;
  }
  std::vector<std::pair<std::string, nlohmann::ordered_json>> lines;
};

LocalEngineOptions Options() {
  LocalEngineOptions options;
  options.step.chunk_tokens_max = 8;
  options.step.max_gap = absl::Milliseconds(100);
  options.memory.limit_bytes = 32 * kGranularity;
  options.memory.ceiling_bytes = 64 * kGranularity;
  options.memory.headroom_bytes = 0;
  options.memory.slack_pages = 1;
  options.window.decode_steps = 32;
  options.window.prefill_max = absl::Seconds(2);
  options.queue.running_sequences_max = 4;
  return options;
}

struct WithLog {
  LineLog log_;
};

// Room for 32 pages; steps take no time of themselves.
class LocalEngineTest : public testing::Test, protected WithLog, protected DrivenEngine {
 protected:
  LocalEngineTest() : DrivenEngine(Options(), &log_, absl::ZeroDuration()) {}

  static Request MakeRequest(int32_t prompt_tokens, int32_t max_tokens) {
    Request request;
    for (int32_t i = 0; i < prompt_tokens; ++i) request.prompt.push_back(i % kVocabulary);
    request.sampling.temperature = 0;
    request.stopping.max_tokens = max_tokens;
    request.stopping.ignore_eos = true;
    request.label = "a label";
    return request;
  }
  std::pair<RequestId, std::shared_ptr<RecordingSink>> Submit(Request request) {
    auto sink = std::make_shared<RecordingSink>();
    const absl::StatusOr<RequestId> id = engine_->Submit(std::move(request), sink);
    EXPECT_TRUE(id.ok()) << id.status();
    return {id.ok() ? *id : 0, sink};
  }
  int64_t UsedBlocks() { return memory_->blocks().used_blocks(); }
};

TEST_F(LocalEngineTest, NothingIsMappedBeforeTheFirstRequestAndAfterIdling) {
  Plan();
  EXPECT_EQ(engine_->Memory().held_bytes, 0);
  auto [id, sink] = Submit(MakeRequest(20, 3));
  for (int i = 0; i < 20; ++i) Round();
  EXPECT_EQ(sink->Wait().reason, FinishReason::kLength);
  EXPECT_GT(engine_->Memory().pages_mapped, 0);
  EXPECT_EQ(engine_->Memory().needed_bytes, 0);
  clock_.Advance(options_.memory.idle);
  for (int i = 0; i < 10; ++i) Plan();
  EXPECT_EQ(engine_->Memory().held_bytes, 0);
  EXPECT_EQ(log_.Last("memory_idle")->at("held_bytes"), 0);
}

TEST_F(LocalEngineTest, CancelFreesBlocksWhenTheStepInFlightIsReaped) {
  auto [id, sink] = Submit(MakeRequest(20, 3));
  Plan();
  EXPECT_GT(UsedBlocks(), 0);
  engine_->Cancel(id);
  Plan();
  EXPECT_GT(UsedBlocks(), 0) << "blocks freed under a submitted step";
  EXPECT_FALSE(sink->finished());
  streams_[0].RunNext();
  engine_->prefill().RunOnce();
  EXPECT_EQ(UsedBlocks(), 0);
  EXPECT_EQ(sink->Wait().reason, FinishReason::kCancelled);
}

TEST_F(LocalEngineTest, AQueuedRequestIsCancelledAndTimedOutWithoutAStep) {
  std::vector<std::shared_ptr<RecordingSink>> running;
  for (int i = 0; i < 4; ++i) running.push_back(Submit(MakeRequest(8, 60)).second);
  Round();
  auto [id, cancelled] = Submit(MakeRequest(8, 4));
  Request timed = MakeRequest(8, 4);
  timed.deadline = clock_.Now() + absl::Seconds(1);
  auto late = Submit(std::move(timed)).second;
  Plan();
  engine_->Cancel(id);
  clock_.Advance(absl::Seconds(1));
  engine_->prefill().RunOnce();
  EXPECT_EQ(cancelled->Wait().reason, FinishReason::kCancelled);
  EXPECT_EQ(late->Wait().reason, FinishReason::kDeadline);
  EXPECT_EQ(late->finish().status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(late->finish().first_token_time, absl::InfiniteDuration());
}

TEST_F(LocalEngineTest, DecodeWaitsForPrefillNoLongerThanTheGap) {
  auto [id, decoding] = Submit(MakeRequest(4, 50));
  for (int i = 0; i < 3; ++i) Round();
  const size_t before = decoding->tokens().size();
  ASSERT_GT(before, 0u);
  streams_[1].RunAll();
  auto [other, prompt] = Submit(MakeRequest(40, 2));
  // A prefill step is in flight from here on; decode's last step has just ended.
  clock_.Advance(absl::Seconds(3));  // Past every window's end: the prompt is admitted.
  Plan();
  streams_[1].RunAll();
  engine_->decode().RunOnce();
  const size_t now = decoding->tokens().size();
  Plan();
  streams_[1].RunAll();
  Plan();
  EXPECT_EQ(decoding->tokens().size(), now) << "decode did not leave prefill its share";
  // Predicted step time is at most what the model's prior says of one row: far below the gap.
  clock_.Advance(options_.step.max_gap);
  Plan();
  streams_[1].RunAll();
  Plan();
  EXPECT_EQ(decoding->tokens().size(), now + 1);
}

TEST_F(LocalEngineTest, AFailedStepEndsItsRequestsAndNothingElse) {
  auto [id, failed] = Submit(MakeRequest(4, 5));
  runner_->FailNext(Lane::kPrefill, absl::UnknownError("the machine hiccuped"));
  Round();
  EXPECT_EQ(failed->Wait().status.code(), absl::StatusCode::kInternal);
  auto fine = Submit(MakeRequest(4, 5)).second;
  for (int i = 0; i < 20; ++i) Round();
  EXPECT_EQ(fine->Wait().reason, FinishReason::kLength);
}

// ---- the device is lost

TEST_F(LocalEngineTest, ALostDeviceEndsEveryRequestOnceAndIsLeftAlone) {
  auto decoding = Submit(MakeRequest(4, 50)).second;
  for (int i = 0; i < 3; ++i) Round();
  auto prefilling = Submit(MakeRequest(40, 4)).second;
  std::vector<std::shared_ptr<RecordingSink>> sinks = {decoding, prefilling};
  for (int i = 0; i < 6; ++i) sinks.push_back(Submit(MakeRequest(8, 40)).second);
  clock_.Advance(absl::Seconds(3));
  Plan();  // Both lanes have a step in flight, others wait.
  ASSERT_LT(streams_[0].completed(), streams_[0].submitted());
  ASSERT_LT(streams_[1].completed(), streams_[1].submitted());
  EXPECT_TRUE(engine_->Health().ok());
  int told = 0;
  engine_->SetOnLost([&] { ++told; });
  runner_->LoseDevice(absl::UnavailableError("illegal address"));
  streams_[1].RunAll();
  engine_->decode().RunOnce();
  EXPECT_EQ(told, 1);
  const int64_t submitted = runner_->submit_count();
  const int64_t held_bytes = engine_->Memory().held_bytes;
  for (int i = 0; i < 4; ++i) {
    Plan();
    clock_.Advance(absl::Seconds(1));
  }
  EXPECT_FALSE(prefilling->finished()) << "it ended while its step was in flight";
  for (int i = 0; i < 4; ++i) Round();
  for (const auto& sink : sinks) {
    ASSERT_TRUE(sink->finished());  // The sink CHECKs that it is once.
    EXPECT_EQ(sink->finish().status.code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(sink->finish().status.message(),
              "the device failed: illegal address; the server is ending");
  }
  clock_.Advance(options_.memory.idle);
  for (int i = 0; i < 10; ++i) Round();
  EXPECT_EQ(runner_->submit_count(), submitted);
  EXPECT_EQ(engine_->Memory().held_bytes, held_bytes) << "memory was edited after the loss";
  EXPECT_EQ(UsedBlocks(), 0);
  EXPECT_EQ(told, 1);
  ASSERT_NE(log_.Last("device_lost"), nullptr);
  EXPECT_EQ(log_.Last("device_lost")->at("reason"), "illegal address");

  const auto late = std::make_shared<RecordingSink>();
  EXPECT_EQ(engine_->Submit(MakeRequest(4, 4), late).status(), engine_->Health());
  EXPECT_EQ(engine_->Health().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(engine_->SetMemoryLimit({16 * kGranularity, absl::Hours(1)}).status(),
            engine_->Health());
  // Who asks late is told at once.
  int told_late = 0;
  engine_->SetOnLost([&] { ++told_late; });
  EXPECT_EQ(told_late, 1);
}

// A page that cannot be made says so before any step does.
TEST_F(LocalEngineTest, AnEngineThatLacksPagesLearnsOfTheLossFromTheKeeper) {
  vmm_.LoseDevice("fell off the bus");
  auto sink = Submit(MakeRequest(20, 3)).second;
  for (int i = 0; i < 4; ++i) Round();
  ASSERT_TRUE(sink->finished());
  EXPECT_EQ(sink->finish().status.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(log_.Last("device_lost"), nullptr);
  EXPECT_EQ(runner_->submit_count(), 0);
}

// What had ended before the loss was reaped keeps its own end.
TEST_F(LocalEngineTest, AnAnswerThatWasWholeBeforeTheLossStaysWhole) {
  auto whole = Submit(MakeRequest(4, 1)).second;
  Plan();
  streams_[0].RunAll();
  runner_->LoseDevice(absl::UnavailableError("gone"));
  for (int i = 0; i < 3; ++i) Round();
  EXPECT_EQ(whole->Wait().reason, FinishReason::kLength);
  EXPECT_TRUE(engine_->Health().ok()) << "nobody has touched the device since";
}

TEST_F(LocalEngineTest, ALimitIsAppliedOrDeferredWithItsBytes) {
  auto sink = Submit(MakeRequest(60, 60)).second;
  for (int i = 0; i < 12; ++i) Round();
  const absl::StatusOr<LimitAnswer> deferred = engine_->SetMemoryLimit({2 * kGranularity});
  ASSERT_TRUE(deferred.ok());
  EXPECT_FALSE(deferred->applied);
  EXPECT_EQ(deferred->deferred_bytes, deferred->held_bytes - 2 * kGranularity);
  // It needs more pages than the limit has: it runs until it can go no further, then ends.
  for (int i = 0; i < 200 && !sink->finished(); ++i) {
    Round();
    clock_.Advance(absl::Milliseconds(100));
  }
  EXPECT_EQ(sink->Wait().status.code(), absl::StatusCode::kResourceExhausted);
  for (int i = 0; i < 20; ++i) Round();
  const absl::StatusOr<LimitAnswer> applied = engine_->SetMemoryLimit({2 * kGranularity});
  EXPECT_TRUE(applied->applied);
  EXPECT_FALSE(engine_->SetMemoryLimit({65 * kGranularity}).ok());
  EXPECT_FALSE(engine_->SetMemoryLimit({-1}).ok());
}

TEST_F(LocalEngineTest, ALoweredLimitPreemptsFromBehindAndTellsWhatItDid) {
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  for (int i = 0; i < 3; ++i) sinks.push_back(Submit(MakeRequest(60, 20)).second);
  while (sinks[2]->tokens().empty()) Round();
  const int64_t held_before = engine_->Memory().held_bytes;
  const int64_t limit = 9 * kGranularity;  // A request has 4 to 5 pages; beside a workspace.
  ASSERT_GT(held_before, limit);
  const auto call = engine_->BeginMemoryLimit({limit, absl::Milliseconds(100)});
  ASSERT_TRUE(call.ok());
  for (int i = 0; i < 3; ++i) Round();
  const LimitAnswer answer = engine_->MemoryLimitAnswer(*call);
  EXPECT_TRUE(answer.applied);
  EXPECT_LE(answer.held_bytes, limit);
  EXPECT_EQ(answer.held_before_bytes, held_before);
  EXPECT_GE(answer.preempted_count, 1);
  EXPECT_GE(answer.pages_unmapped, 3);
  EXPECT_EQ(answer.ended_count, 0);
  EXPECT_EQ(answer.first_needs_bytes, 0);
  for (int i = 0; i < 400; ++i) {
    clock_.Advance(absl::Milliseconds(20));
    Round();
  }
  for (const auto& sink : sinks) EXPECT_EQ(sink->Wait().reason, FinishReason::kLength);
  EXPECT_EQ(sinks[0]->Wait().preemptions, 0) << "the first of the order never gives way";
  EXPECT_EQ(sinks[0]->tokens(), sinks[1]->tokens());
  EXPECT_EQ(sinks[0]->tokens(), sinks[2]->tokens());
}

TEST_F(LocalEngineTest, ForceEndsTheFirstWhereItAloneNeedsMore) {
  auto sink = Submit(MakeRequest(60, 60)).second;
  for (int i = 0; i < 12; ++i) Round();
  const auto deferred = engine_->BeginMemoryLimit({2 * kGranularity, absl::Milliseconds(100)});
  for (int i = 0; i < 2; ++i) Round();
  EXPECT_FALSE(engine_->MemoryLimitAnswer(*deferred).applied);
  EXPECT_GT(engine_->MemoryLimitAnswer(*deferred).first_needs_bytes, 2 * kGranularity);
  EXPECT_FALSE(sink->finished());
  const auto forced = engine_->BeginMemoryLimit({2 * kGranularity, absl::Milliseconds(100), true});
  for (int i = 0; i < 3; ++i) Round();
  EXPECT_EQ(sink->Wait().status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(engine_->MemoryLimitAnswer(*forced).applied);
  EXPECT_EQ(engine_->MemoryLimitAnswer(*forced).ended_count, 1);
}

TEST_F(LocalEngineTest, AnOlderOrEqualRevisionChangesNothing) {
  const auto set = [this](int64_t pages, uint64_t revision) {
    return *engine_->SetMemoryLimit({pages * kGranularity, absl::ZeroDuration(), false, revision});
  };
  EXPECT_FALSE(set(20, 5).stale);
  for (const uint64_t old : {uint64_t{4}, uint64_t{5}}) {
    const LimitAnswer answer = set(10, old);
    EXPECT_TRUE(answer.stale);
    EXPECT_TRUE(answer.applied);
    EXPECT_EQ(answer.limit_bytes, 20 * kGranularity);
    EXPECT_EQ(answer.revision, 5u);
  }
  EXPECT_FALSE(set(12, 0).stale) << "without a revision a limit always counts";
  EXPECT_EQ(engine_->Memory().limit_bytes, 12 * kGranularity);
  EXPECT_EQ(set(14, 6).revision, 6u);
}

// Both lanes have a step in flight that would end too late: both are told to stop, and the tokens
// are those of steps that ran.
TEST_F(LocalEngineTest, StepsInTheWayAreAbandonedAndHadAgain) {
  auto first = Submit(MakeRequest(60, 20)).second;
  while (first->tokens().empty()) Round();
  auto second = Submit(MakeRequest(60, 20)).second;
  clock_.Advance(options_.window.prefill_max);
  for (int i = 0; i < 2; ++i) Round();
  ASSERT_TRUE(engine_->core().lane(Lane::kPrefill).in_flight);
  const int64_t limit = 6 * kGranularity;
  const auto call = engine_->BeginMemoryLimit({limit, absl::Milliseconds(100)});
  EXPECT_FALSE(runner_->is_told_to_stop(Lane::kPrefill)) << "there is time";
  clock_.Advance(absl::Milliseconds(30));
  engine_->keeper().RunOnce();
  EXPECT_TRUE(runner_->is_told_to_stop(Lane::kPrefill));
  for (int i = 0; i < 3; ++i) Round();
  EXPECT_TRUE(engine_->MemoryLimitAnswer(*call).applied);
  EXPECT_GE(runner_->abandoned_count(), 1);
  for (int i = 0; i < 400; ++i) {
    clock_.Advance(absl::Milliseconds(20));
    Round();
  }
  EXPECT_EQ(first->Wait().reason, FinishReason::kLength);
  EXPECT_EQ(second->Wait().reason, FinishReason::kLength);
  EXPECT_EQ(first->tokens(), second->tokens());
}

// The boundary of one queue puts the limit into force, but the other's window was planned under the
// old one: its grant must come down as soon, not when the window ends.
TEST_F(LocalEngineTest, ALoweredLimitReachesTheWindowsOfBothQueues) {
  auto decoding = Submit(MakeRequest(4, 100)).second;
  for (int i = 0; i < 3; ++i) Round();
  ASSERT_GT(decoding->tokens().size(), 0u);
  clock_.Advance(options_.window.decode_max);
  auto prompt = Submit(MakeRequest(90, 4)).second;
  Plan();
  const int64_t granted = memory_->accounts().granted(memory::AccountId::kPrefill);
  ASSERT_GT(granted, 24) << "prefill's window covers the whole prompt";
  const int64_t limit = 8 * kGranularity;
  ASSERT_TRUE(engine_->SetMemoryLimit({limit}).ok());
  for (int i = 0; i < 4; ++i) {
    clock_.Advance(options_.window.decode_min / 2 + absl::Milliseconds(1));
    Round();
  }
  EXPECT_LE(engine_->Memory().held_bytes, limit);
  EXPECT_FALSE(decoding->finished());
}

// Decode finds the memory that it lacks in prefill's slack: nobody has to give way.
TEST_F(LocalEngineTest, SlackGoesBeforeAnybodyGivesWay) {
  // Room for two of 64 tokens and one of 64, and for no slack beside them.
  const int64_t workspace_bytes = engine_->core().WorkspaceBytesMax(Lane::kPrefill) +
                                  engine_->core().WorkspaceBytesMax(Lane::kDecode);
  ASSERT_TRUE(engine_->SetMemoryLimit({12 * kGranularity + workspace_bytes})->applied);
  auto first = Submit(MakeRequest(4, 60)).second;
  auto second = Submit(MakeRequest(4, 60)).second;
  while (second->tokens().size() < 29) Round();
  clock_.Advance(options_.window.prefill_max);
  auto prompt = Submit(MakeRequest(62, 2)).second;
  // Decode's window ends while the prompt is prefilled.
  bool beside = false;
  for (int i = 0; i < 60; ++i) {
    clock_.Advance(options_.step.max_gap);
    Round();
    beside |= second->tokens().size() > 34 && prompt->tokens().empty();
  }
  EXPECT_TRUE(beside);
  EXPECT_TRUE(prompt->finished());
  EXPECT_EQ(engine_->Load().preemptions_total, 0);
}

// What those who watch are told is what the log says, window by window.
TEST_F(LocalEngineTest, RecentWindowsAreThoseOfTheLog) {
  EXPECT_TRUE(engine_->RecentWindows().empty());
  auto first = Submit(MakeRequest(20, 100)).second;
  auto second = Submit(MakeRequest(9, 4)).second;
  for (int i = 0; i < 120; ++i) {
    clock_.Advance(absl::Milliseconds(5));
    Round();
  }
  ASSERT_TRUE(first->finished() && second->finished());
  clock_.Advance(absl::Seconds(3));
  std::vector<nlohmann::ordered_json> told[2];
  for (const WindowView& window : engine_->RecentWindows()) {
    const memory::WindowPlan& plan = window.plan;
    auto& queue = told[plan.queue == memory::WindowQueue::kDecode];
    EXPECT_EQ(window.number, static_cast<int64_t>(queue.size()) + 1);
    EXPECT_GE(window.age, absl::Seconds(3));
    queue.push_back({{"queue", std::string(memory::WindowQueueName(plan.queue))},
                     {"length_ms", absl::ToDoubleMilliseconds(plan.length)},
                     {"demand_blocks", plan.demand_blocks},
                     {"grant_blocks", plan.grant_blocks},
                     {"pages_after", plan.pages_after}});
  }
  std::vector<nlohmann::ordered_json> logged[2];
  for (const auto& [event, line] : log_.lines) {
    if (event != "window") continue;
    nlohmann::ordered_json kept;
    for (const char* key : {"queue", "length_ms", "demand_blocks", "grant_blocks", "pages_after"}) {
      kept[key] = line.at(key);
    }
    logged[line.at("queue") == "decode"].push_back(kept);
  }
  EXPECT_GE(logged[0].size(), 1u);
  EXPECT_GE(logged[1].size(), 2u);
  EXPECT_EQ(told[0], logged[0]);
  EXPECT_EQ(told[1], logged[1]);
}

TEST_F(LocalEngineTest, CountsTokensAndThoseComputedAgain) {
  auto first = Submit(MakeRequest(20, 30)).second;
  while (first->tokens().size() < 5) Round();
  EXPECT_EQ(engine_->Load().prefilled_tokens_total, 20);
  EXPECT_EQ(engine_->Load().completion_tokens_total, 5);
  auto second = Submit(MakeRequest(9, 20)).second;
  while (second->tokens().size() < 3) Round();
  EXPECT_EQ(engine_->Load().prefilled_tokens_total, 29);
  const int64_t made = static_cast<int64_t>(second->tokens().size());
  // Two pages beside the workspaces have room for the first alone: the second gives way.
  const int64_t workspace_bytes = engine_->core().WorkspaceBytesAlone(50, false);
  ASSERT_TRUE(engine_->BeginMemoryLimit({workspace_bytes + 4 * kGranularity}).ok());
  for (int i = 0; i < 100; ++i) Round();
  ASSERT_TRUE(first->finished() && second->finished());
  EXPECT_EQ(engine_->Load().preemptions_total, 1);
  EXPECT_EQ(engine_->Load().prefilled_tokens_total, 29 + 9 + made);
  // Its last token had not been computed yet when it gave way.
  EXPECT_EQ(engine_->Load().recomputed_tokens_total, 9 + made - 1);
  EXPECT_GT(engine_->Memory().page_unmaps_total, 0);
  EXPECT_GE(engine_->Memory().page_maps_total,
            engine_->Memory().page_unmaps_total + engine_->Memory().pages_mapped);
  EXPECT_EQ(engine_->Load().completion_tokens_total, 30 + 20);
}

TEST_F(LocalEngineTest, TellsHowLongNothingHasComeOut) {
  const auto age = [this] { return engine_->Load().last_step_age; };
  EXPECT_EQ(age(), absl::ZeroDuration());
  auto first = Submit(MakeRequest(8, 4)).second;
  clock_.Advance(absl::Seconds(100));  // It waits: nothing runs.
  EXPECT_EQ(age(), absl::ZeroDuration());
  Plan();  // Its prompt is in flight now, and the stream does not move.
  ASSERT_EQ(engine_->Load().running_requests, 1);
  EXPECT_EQ(age(), absl::ZeroDuration());
  clock_.Advance(absl::Seconds(70));
  EXPECT_EQ(age(), absl::Seconds(70));
  Round();
  EXPECT_EQ(age(), absl::ZeroDuration());
  while (!first->finished()) Round();
  clock_.Advance(absl::Hours(1));  // Idle.
  EXPECT_EQ(age(), absl::ZeroDuration());
  // The last step was an hour ago; that is not held against who has just begun.
  auto second = Submit(MakeRequest(8, 4)).second;
  Plan();
  ASSERT_EQ(engine_->Load().running_requests, 1);
  EXPECT_EQ(age(), absl::ZeroDuration());
  clock_.Advance(absl::Seconds(5));
  EXPECT_EQ(age(), absl::Seconds(5));
}

// One lane's step hangs while the other lane goes on.
TEST_F(LocalEngineTest, AHungStepIsNotHiddenByTheOtherLane) {
  auto decoding = Submit(MakeRequest(4, 60)).second;
  for (int i = 0; i < 3; ++i) Round();
  auto prompt = Submit(MakeRequest(40, 2)).second;
  clock_.Advance(absl::Seconds(3));  // Past every window's end: the prompt is admitted.
  Plan();
  streams_[1].RunAll();
  Plan();
  ASSERT_EQ(engine_->Load().running_requests, 2);
  const absl::Duration before = engine_->Load().last_step_age;
  const size_t made = decoding->tokens().size();
  for (int i = 0; i < 5; ++i) {
    clock_.Advance(absl::Seconds(1));
    Plan();
    streams_[1].RunAll();  // Decode's alone.
    Plan();
  }
  EXPECT_GT(decoding->tokens().size(), made);
  EXPECT_EQ(engine_->Load().last_step_age, before + absl::Seconds(5));
}

TEST_F(LocalEngineTest, CountsTheStepsOfEachLane) {
  auto sink = Submit(MakeRequest(20, 4)).second;  // Chunks of 8, 8 and 4; then a token a step.
  while (!sink->finished()) Round();
  const std::vector<LaneView> lanes = engine_->Load().lanes;
  ASSERT_EQ(lanes.size(), 2u);
  EXPECT_EQ(lanes[0].queue, memory::WindowQueue::kPrefill);
  EXPECT_EQ(lanes[0].done.tokens, 20);
  EXPECT_EQ(lanes[0].done.steps_by_tokens[3], 2);  // Up to 8 tokens.
  EXPECT_EQ(lanes[0].done.steps_by_tokens[2], 1);  // Up to 4.
  EXPECT_EQ(lanes[1].queue, memory::WindowQueue::kDecode);
  EXPECT_EQ(lanes[1].done.tokens, 3);  // The first token came with the prompt.
  EXPECT_EQ(lanes[1].done.steps_by_tokens[0], 3);
}

TEST_F(LocalEngineTest, ATraceIdIsLoggedWhereThereIsOne) {
  Request traced = MakeRequest(4, 1);
  traced.trace_id = "0af7651916cd43dd8448eb211c80319c";
  auto first = Submit(std::move(traced)).second;
  while (!first->finished()) Round();
  EXPECT_EQ(log_.Last("request_finished")->at("trace_id"), "0af7651916cd43dd8448eb211c80319c");
  auto second = Submit(MakeRequest(4, 1)).second;
  while (!second->finished()) Round();
  EXPECT_FALSE(log_.Last("request_finished")->contains("trace_id"));
}

TEST_F(LocalEngineTest, TheLogTellsWindowsAndEndsButNoPrompt) {
  auto sink = Submit(MakeRequest(20, 4)).second;
  for (int i = 0; i < 20; ++i) Round();
  const nlohmann::ordered_json* window = log_.Last("window");
  ASSERT_NE(window, nullptr);
  for (const char* field : {"queue", "length_ms", "static_blocks", "dynamic_blocks", "slack_blocks",
                            "demand_pages", "pages_before", "pages_after", "reason", "held_bytes",
                            "needed_bytes", "limit_bytes", "preemptions_total"}) {
    EXPECT_TRUE(window->contains(field)) << field;
  }
  const nlohmann::ordered_json* ended = log_.Last("request_finished");
  ASSERT_NE(ended, nullptr);
  EXPECT_EQ(ended->at("label"), "a label");
  EXPECT_EQ(ended->at("finish_reason"), "length");
  EXPECT_EQ(ended->at("prompt_tokens"), 20);
  EXPECT_EQ(ended->at("completion_tokens"), 4);
  EXPECT_FALSE(ended->contains("prompt"));
}

TEST_F(LocalEngineTest, BadRequestsAreRefusedWithBothNumbers) {
  auto sink = std::make_shared<RecordingSink>();
  EXPECT_EQ(engine_->Submit(MakeRequest(0, 4), sink).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(engine_->Submit(MakeRequest(4, 0), sink).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(engine_->Submit(MakeRequest(128, 1), sink).status().code(),
            absl::StatusCode::kInvalidArgument);
  Request alien = MakeRequest(4, 4);
  alien.prompt[2] = kVocabulary;
  EXPECT_EQ(engine_->Submit(std::move(alien), sink).status().code(),
            absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(engine_->SetMemoryLimit({6 * kGranularity}).ok());
  const absl::Status large = engine_->Submit(MakeRequest(100, 20), sink).status();
  EXPECT_EQ(large.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(large.message().find("120 tokens"), absl::string_view::npos) << large;
}

}  // namespace
}  // namespace ebb::engine
