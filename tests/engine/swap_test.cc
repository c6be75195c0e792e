// Preempted sequences whose keys and values are kept in the swap space: they go on where they left
// off, with the tokens that they would have had; whatever fails, they are recomputed.

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

class SwapTest : public testing::TestWithParam<Queues> {
 protected:
  void Open(const LocalEngineOptions& options) {
    world_ = std::make_unique<DrivenEngine>(options);
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
  // The state of the second request's sequence.
  SwapState StateOfSecond() const {
    EngineCore& core = world_->engine_->core();
    base::MutexLock lock(&core.mutex);
    for (const Sequence* sequence : core.order()) {
      if (sequence->id == ids_[1]) return sequence->swap.state;
    }
    return SwapState::kNone;
  }
  // Lets everything happen but copies, until the second request is in this state.
  void RunUntilSecondIs(SwapState state, bool copies) {
    for (int i = 0; i < 600 && StateOfSecond() != state; ++i) {
      world_->Plan();
      if (StateOfSecond() == state) break;
      world_->streams_[0].RunAll();
      world_->streams_[1].RunAll();
      if (copies) world_->swap_stream_.RunNext();
      world_->clock_.Advance(absl::Milliseconds(20));
    }
    ASSERT_EQ(StateOfSecond(), state);
  }

  const std::vector<Request> requests_ = {MakeRequest(20, 50), MakeRequest(30, 40)};
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

// Cancel, drain and the device's loss in each state end the request once.
TEST_P(SwapTest, EndsOnceInEveryState) {
  for (const SwapState state : {SwapState::kLeaving, SwapState::kKept, SwapState::kReturning}) {
    for (int end = 0; end < 3; ++end) {
      SCOPED_TRACE(testing::Message() << "state " << static_cast<int>(state) << " end " << end);
      sinks_.clear();
      ids_.clear();
      Open(Options(GetParam()));
      RunUntilSecondIs(SwapState::kLeaving, false);
      if (state != SwapState::kLeaving) RunUntilSecondIs(state, true);
      if (end == 0) world_->engine_->Cancel(ids_[1]);
      if (end == 1) world_->engine_->BeginDrain(absl::ZeroDuration());
      if (end == 2) {
        world_->runner_->LoseDevice(absl::UnavailableError("planted loss"));
        world_->vmm_.LoseDevice("planted loss");
      }
      RunUntil([this] { return sinks_[1]->finished(); });  // A sink CHECKs that it ends once.
      RunUntil([this] { return AllFinished(); });
      EXPECT_FALSE(sinks_[1]->finish().status.ok());
      if (end == 0) {
        EXPECT_EQ(sinks_[0]->tokens(), Quiet(requests_[0]));
      }
      EXPECT_EQ(View().used_bytes, 0);
      if (end == 2) {
        (void)world_.release();  // What a lost device holds is not given back.
      } else {
        world_.reset();
      }
    }
  }
}

// What leaves has no time to be copied when memory must go: it is recomputed.
TEST_P(SwapTest, ALoweredLimitStopsTheCopyOut) {
  Open(Options(GetParam()));
  RunUntilSecondIs(SwapState::kLeaving, false);
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
