// Preempted sequences whose keys and values are kept in the swap space: they go on where they left
// off, with the tokens that they would have had; whatever fails, they are recomputed.

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/driven_engine.h"
#include "tests/engine/recording_sink.h"

namespace ebb::engine {
namespace {

// Room for one of the two requests at its end, and some of the other.
LocalEngineOptions Options(Queues queues) {
  LocalEngineOptions options = DrivenOptions();
  options.queue.queues = queues;
  options.queue.resume_immunity_tokens = 1;
  options.queue.growth_prior_tokens = 1;
  options.step.chunk_tokens_max = 8;
  options.window.decode_steps = 2;
  options.window.decode_min = absl::Milliseconds(1);
  options.window.prefill_min = absl::Milliseconds(1);
  options.memory.limit_bytes = 8 * kDrivenPageBytes;
  options.memory.idle = absl::Milliseconds(500);
  options.memory.compact_above_percent = 0;
  options.memory.swap_bytes_max = int64_t{1} << 20;
  return options;
}

Request MakeRequest(int32_t prompt_tokens, int32_t max_tokens) {
  Request request;
  for (int32_t i = 0; i < prompt_tokens; ++i) {
    request.prompt.push_back((i * 7 + prompt_tokens) % kDrivenVocabulary);
  }
  request.sampling.temperature = 1;
  request.sampling.seed = static_cast<uint64_t>(100 + prompt_tokens);
  request.stopping.max_tokens = max_tokens;
  request.stopping.ignore_eos = true;
  return request;
}

std::vector<int32_t> Quiet(const Request& request) {
  std::vector<int32_t> tokens = request.prompt;
  for (int32_t index = 0; index < request.stopping.max_tokens; ++index) {
    tokens.push_back(
        FakeStepRunner::NextToken(tokens, index, request.sampling, {}, kDrivenVocabulary));
  }
  return {tokens.begin() + static_cast<int64_t>(request.prompt.size()), tokens.end()};
}

// Where the second request's sequence is; copies of it are in flight, or not yet.
enum class Stage { kLeaving, kPieceOut, kOut, kWaitsForRoom, kReturning, kPieceIn };
enum class HowItEnds { kCancel, kDeadline, kDrain, kDeviceLost };

absl::StatusCode CodeOf(HowItEnds how) {
  switch (how) {
    case HowItEnds::kCancel:
      return absl::StatusCode::kCancelled;
    case HowItEnds::kDeadline:
      return absl::StatusCode::kDeadlineExceeded;
    case HowItEnds::kDrain:
    case HowItEnds::kDeviceLost:
      break;
  }
  return absl::StatusCode::kUnavailable;
}

FinishReason ReasonOf(HowItEnds how) {
  return how == HowItEnds::kCancel     ? FinishReason::kCancelled
         : how == HowItEnds::kDeadline ? FinishReason::kDeadline
                                       : FinishReason::kError;
}

class SwapTest : public testing::TestWithParam<Queues> {
 protected:
  void Open(const LocalEngineOptions& options, bool prefix_cache = false) {
    world_ = std::make_unique<DrivenEngine>(options, nullptr, absl::Milliseconds(20), prefix_cache);
    sinks_.clear();
    ids_.clear();
    requests_[1].deadline = world_->clock_.Now() + kDeadline;
    for (size_t i = 0; i < requests_.size(); ++i) {
      sinks_.push_back(std::make_shared<RecordingSink>());
      const absl::StatusOr<RequestId> id = world_->engine_->Submit(requests_[i], sinks_[i]);
      ASSERT_TRUE(id.ok()) << id.status();
      ids_.push_back(*id);
    }
  }
  // Rounds until `done`.
  void RunUntil(const std::function<bool()>& done) {
    for (int i = 0; i < 600 && !done(); ++i) world_->Round();
    ASSERT_TRUE(done());
  }
  bool AllFinished() const {
    for (const auto& sink : sinks_) {
      if (!sink->finished()) return false;
    }
    return true;
  }
  void ExpectQuietAnswers() {
    RunUntil([this] { return AllFinished(); });
    for (size_t i = 0; i < requests_.size(); ++i) {
      EXPECT_TRUE(sinks_[i]->finish().status.ok()) << sinks_[i]->finish().status;
      EXPECT_EQ(sinks_[i]->tokens(), Quiet(requests_[i]));
    }
  }
  SwapView View() const { return world_->engine_->Memory().swap; }
  int64_t Fallbacks(SwapFallback reason) const {
    return View().fallbacks[static_cast<size_t>(reason)];
  }
  // The second request's sequence; none when it has ended. REQUIRES: nobody runs the engine.
  const Sequence* Second() const {
    EngineCore& core = world_->engine_->core();
    base::MutexLock lock(&core.mutex);
    for (const Sequence* sequence : core.order()) {
      if (sequence->id == ids_[1]) return sequence;
    }
    return nullptr;
  }
  SwapState StateOfSecond() const {
    const Sequence* second = Second();
    return second == nullptr ? SwapState::kNone : second->swap.state;
  }
  bool SecondIsAt(Stage stage) const {
    const Sequence* second = Second();
    if (second == nullptr) return false;
    const SwapState state = second->swap.state;
    switch (stage) {
      case Stage::kLeaving:
      case Stage::kPieceOut:
        return state == SwapState::kLeaving && second->in_step == (stage == Stage::kPieceOut);
      case Stage::kOut:
      case Stage::kWaitsForRoom:
        return state == SwapState::kKept && second->running() == (stage == Stage::kWaitsForRoom);
      case Stage::kReturning:
      case Stage::kPieceIn:
        return state == SwapState::kReturning && second->in_step == (stage == Stage::kPieceIn);
    }
    return false;
  }
  // Lets everything happen, an actor at a time, until the second request is there.
  void RunUntilStage(Stage stage) {
    LocalEngine& engine = *world_->engine_;
    if (stage == Stage::kWaitsForRoom) {
      // It may run, and the pages for it are still to be mapped.
      RunUntilStage(Stage::kOut);
      ASSERT_TRUE(engine.BeginMemoryLimit({64 * kDrivenPageBytes, absl::Milliseconds(100)}).ok());
    }
    const std::vector<std::function<void()>> moves = {[&] { engine.keeper().RunOnce(); },
                                                      [&] { engine.prefill().RunOnce(); },
                                                      [&] { engine.decode().RunOnce(); },
                                                      [&] { engine.swap()->RunOnce(); },
                                                      [&] { world_->streams_[0].RunAll(); },
                                                      [&] { world_->streams_[1].RunAll(); },
                                                      [&] { world_->swap_stream_.RunNext(); },
                                                      [&] { world_->clock_.Advance(absl::Milliseconds(20)); }};
    for (int i = 0; i < 6000 && !SecondIsAt(stage); ++i) {
      moves[static_cast<size_t>(i) % moves.size()]();
    }
    ASSERT_TRUE(SecondIsAt(stage));
  }
  void EndSecond(HowItEnds how) {
    switch (how) {
      case HowItEnds::kCancel:
        world_->engine_->Cancel(ids_[1]);
        break;
      case HowItEnds::kDeadline:
        world_->clock_.Advance(requests_[1].deadline - world_->clock_.Now());
        break;
      case HowItEnds::kDrain:
        world_->engine_->BeginDrain(absl::ZeroDuration());
        break;
      case HowItEnds::kDeviceLost:
        world_->runner_->LoseDevice(absl::UnavailableError("planted loss"));
        world_->vmm_.LoseDevice("planted loss");
        RunUntil([this] { return !world_->engine_->Health().ok(); });  // A step's result says so.
        break;
    }
  }
  // The second prompt begins as the first does, and both answers are long.
  void OpenWithACommonBeginning() {
    std::copy(requests_[0].prompt.begin(), requests_[0].prompt.end(), requests_[1].prompt.begin());
    for (Request& request : requests_) request.stopping.max_tokens = 90;
    LocalEngineOptions options = Options(GetParam());
    options.memory.limit_bytes = 10 * kDrivenPageBytes;
    Open(options, true);
  }
  // Tokens of the second that came from the prefix cache, while its blocks are copied in.
  int32_t FoundBySecond() const {
    return static_cast<int32_t>(Second()->place.blocks) *
           world_->memory_->geometry().block_tokens();
  }
  void ExpectOnlyFirstHasBlocks() const {
    EngineCore& core = world_->engine_->core();
    base::MutexLock lock(&core.mutex);
    int64_t blocks = 0;
    for (const Sequence* sequence : core.order()) {
      EXPECT_EQ(sequence->id, ids_[0]);
      blocks += sequence->table.block_count();
    }
    EXPECT_EQ(core.memory().blocks().used_blocks(), blocks);
  }

  static constexpr absl::Duration kDeadline =
      absl::Minutes(2);  // Of the second, when it is asked to.

  std::vector<Request> requests_ = {MakeRequest(20, 50), MakeRequest(30, 40)};
  std::unique_ptr<DrivenEngine> world_;
  std::vector<std::shared_ptr<RecordingSink>> sinks_;
  std::vector<RequestId> ids_;
};

TEST_P(SwapTest, ComesBackWithoutAnyPrefill) {
  Open(Options(GetParam()));
  ExpectQuietAnswers();
  EXPECT_GT(sinks_[1]->finish().preemptions, 0);
  EXPECT_EQ(world_->engine_->Load().recomputed_tokens_total, 0);
  const SwapView view = View();
  EXPECT_GT(view.out_sequences_total, 0);
  EXPECT_EQ(view.in_sequences_total, view.out_sequences_total);
  EXPECT_EQ(view.in_bytes_total, view.out_bytes_total);
  EXPECT_EQ(view.used_bytes, 0);
  EXPECT_GT(view.held_bytes, 0);
  // Unused, the space goes.
  world_->clock_.Advance(absl::Milliseconds(500));
  world_->Round();
  EXPECT_EQ(View().held_bytes, 0);
  EXPECT_EQ(world_->copier_->chunk_count(), 0u);
}

TEST_P(SwapTest, IsOffWithoutBytes) {
  LocalEngineOptions options = Options(GetParam());
  options.memory.swap_bytes_max = 0;
  Open(options);
  EXPECT_EQ(world_->engine_->swap(), nullptr);
  ExpectQuietAnswers();
  EXPECT_GT(sinks_[1]->finish().preemptions, 0);
  EXPECT_GT(world_->engine_->Load().recomputed_tokens_total, 0);
}

TEST_P(SwapTest, AFullSpaceMeansRecomputing) {
  LocalEngineOptions options = Options(GetParam());
  options.memory.swap_bytes_max = 200;  // A slot and a half.
  Open(options);
  ExpectQuietAnswers();
  EXPECT_GT(Fallbacks(SwapFallback::kFull), 0);
  EXPECT_GT(world_->engine_->Load().recomputed_tokens_total, 0);
  EXPECT_EQ(View().out_sequences_total, 0);
}

TEST_P(SwapTest, ACopyOutThatFailsHalfWayMeansRecomputing) {
  Open(Options(GetParam()));
  world_->copier_->FailNextOut(1);
  ExpectQuietAnswers();
  EXPECT_EQ(world_->copier_->failed_outs(), 1);
  EXPECT_EQ(Fallbacks(SwapFallback::kFailed), 1);
  EXPECT_GT(world_->engine_->Load().recomputed_tokens_total, 0);
  EXPECT_EQ(View().used_bytes, 0);
}

TEST_P(SwapTest, ACopyInThatFailsHalfWayMeansRecomputing) {
  Open(Options(GetParam()));
  world_->copier_->FailNextIn(1);
  ExpectQuietAnswers();
  EXPECT_EQ(world_->copier_->failed_ins(), 1);
  EXPECT_EQ(Fallbacks(SwapFallback::kFailed), 1);
  EXPECT_GT(world_->engine_->Load().recomputed_tokens_total, 0);
  EXPECT_EQ(View().used_bytes, 0);
}

TEST_P(SwapTest, NoRoomForAChunkMeansRecomputing) {
  Open(Options(GetParam()));
  world_->copier_->FailNextChunk();
  ExpectQuietAnswers();
  EXPECT_EQ(Fallbacks(SwapFallback::kFailed), 1);
  EXPECT_GT(world_->engine_->Load().recomputed_tokens_total, 0);
}

// Whatever ends it in whatever state ends it once, at once, or when the piece in flight is done;
// what it had is given back, and the others do not notice.
TEST_P(SwapTest, EndsOnceInEveryState) {
  for (const Stage stage : {Stage::kLeaving, Stage::kPieceOut, Stage::kOut, Stage::kWaitsForRoom,
                            Stage::kReturning, Stage::kPieceIn}) {
    for (const HowItEnds how :
         {HowItEnds::kCancel, HowItEnds::kDeadline, HowItEnds::kDrain, HowItEnds::kDeviceLost}) {
      SCOPED_TRACE(testing::Message()
                   << "stage " << static_cast<int>(stage) << " end " << static_cast<int>(how));
      Open(Options(GetParam()));
      ASSERT_NO_FATAL_FAILURE(RunUntilStage(stage));
      EndSecond(how);
      world_->Plan();
      const bool in_flight = stage == Stage::kPieceOut || stage == Stage::kPieceIn;
      if (how != HowItEnds::kDeviceLost) {
        EXPECT_EQ(sinks_[1]->finished(), !in_flight);
      }
      while (world_->swap_stream_.RunNext()) world_->Plan();
      ASSERT_TRUE(sinks_[1]->finished());  // A sink CHECKs that it ends once.
      const Finish finish = sinks_[1]->finish();
      EXPECT_EQ(finish.status.code(), CodeOf(how)) << finish.status;
      EXPECT_EQ(finish.reason, ReasonOf(how));
      const std::vector<int32_t> quiet = Quiet(requests_[1]);
      EXPECT_EQ(sinks_[1]->tokens(),
                std::vector<int32_t>(quiet.begin(), quiet.begin() + finish.completion_tokens));
      EXPECT_EQ(View().used_bytes, 0);
      ExpectOnlyFirstHasBlocks();
      RunUntil([this] { return AllFinished(); });
      if (how == HowItEnds::kCancel || how == HowItEnds::kDeadline) {
        EXPECT_TRUE(sinks_[0]->finish().status.ok()) << sinks_[0]->finish().status;
        EXPECT_EQ(sinks_[0]->tokens(), Quiet(requests_[0]));
        EXPECT_EQ(sinks_[0]->finish().preemptions, 0);
      }
      world_.reset();
    }
  }
}

// Blocks that others use too are copied like any other; what the prefix cache still has when the
// sequence comes back is taken over, and only the rest is copied in.
TEST_P(SwapTest, OnlyWhatTheCacheLacksIsCopiedBack) {
  OpenWithACommonBeginning();
  ExpectQuietAnswers();
  EXPECT_EQ(sinks_[1]->finish().cached_tokens, 20);
  const SwapView view = View();
  EXPECT_GT(view.out_sequences_total, 0);
  EXPECT_EQ(view.in_sequences_total, view.out_sequences_total);
  EXPECT_GT(view.in_bytes_total, 0);
  EXPECT_LT(view.in_bytes_total, view.out_bytes_total);
  EXPECT_EQ(view.used_bytes, 0);
  EXPECT_EQ(world_->engine_->Load().recomputed_tokens_total, 0);
}

TEST_P(SwapTest, ACopyInThatFailsKeepsWhatTheCacheHad) {
  OpenWithACommonBeginning();
  world_->copier_->FailNextIn(1);
  RunUntilStage(Stage::kReturning);
  const int32_t found_tokens = FoundBySecond();
  EXPECT_GE(found_tokens, 20);
  RunUntil([this] { return Fallbacks(SwapFallback::kFailed) == 1; });
  EXPECT_GE(Second()->computed_tokens, found_tokens);
  ExpectQuietAnswers();
  EXPECT_GT(world_->engine_->Load().recomputed_tokens_total, 0);
  EXPECT_EQ(View().used_bytes, 0);
}

// What leaves has no time to be copied when memory must go: it is recomputed.
TEST_P(SwapTest, ALoweredLimitStopsTheCopyOut) {
  Open(Options(GetParam()));
  RunUntilStage(Stage::kLeaving);
  LimitChange change;
  change.bytes = 6 * kDrivenPageBytes;
  change.deadline = absl::Milliseconds(100);
  ASSERT_TRUE(world_->engine_->BeginMemoryLimit(change).ok());
  RunUntil([this] { return StateOfSecond() == SwapState::kNone; });
  EXPECT_GE(Fallbacks(SwapFallback::kLimit), 1);
  EXPECT_EQ(View().used_bytes, 0);
  change.bytes = 8 * kDrivenPageBytes;
  ASSERT_TRUE(world_->engine_->BeginMemoryLimit(change).ok());
  ExpectQuietAnswers();
}

// Copies that seem slower than computing are not made.
TEST_P(SwapTest, IsNotWorthItWhereCopiesAreSlow) {
  Open(Options(GetParam()));
  {
    EngineCore& core = world_->engine_->core();
    base::MutexLock lock(&core.mutex);
    EXPECT_LT(core.swaps().OutTime(int64_t{1} << 20), absl::Milliseconds(1));
  }
  EngineCore& core = world_->engine_->core();
  {
    base::MutexLock lock(&core.mutex);
    Sequence* const sequence = *core.order().begin();
    SwapPiece piece;
    piece.out = true;
    piece.copies.resize(1);
    for (int i = 0; i < 200; ++i) {
      core.swaps().NotePiece(sequence, piece, absl::Seconds(10));
    }
    sequence->swap = {};
  }
  ExpectQuietAnswers();
  EXPECT_EQ(View().out_sequences_total, 0);
  EXPECT_GT(world_->engine_->Load().recomputed_tokens_total, 0);
}

INSTANTIATE_TEST_SUITE_P(Queues, SwapTest, testing::Values(Queues::kSeparate, Queues::kOne),
                         [](const testing::TestParamInfo<Queues>& info) {
                           return std::string(info.param == Queues::kOne ? "one" : "separate");
                         });

}  // namespace
}  // namespace ebb::engine
