// Several answers to one prompt: prefilled once, its blocks shared, and each answer what a request
// of its own would get.

#include "engine/forks.h"

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

LocalEngineOptions Options(Queues queues) {
  LocalEngineOptions options = DrivenOptions();
  options.queue.queues = queues;
  options.queue.running_sequences_max = 6;
  options.queue.resume_immunity_tokens = 1;
  return options;
}

Request MakeRequest(int32_t prompt_tokens, int32_t max_tokens, int32_t n) {
  Request request;
  for (int32_t i = 0; i < prompt_tokens; ++i) {
    request.prompt.push_back((i * 7 + prompt_tokens) % kDrivenVocabulary);
  }
  request.sampling.temperature = 1;
  request.sampling.seed = static_cast<uint64_t>(100 + prompt_tokens);
  request.sampling.logprobs = 0;
  request.stopping.max_tokens = max_tokens;
  request.stopping.ignore_eos = true;
  request.n = n;
  return request;
}

// What a request of its own with this answer's seed gets, in a world without memory.
std::vector<int32_t> Quiet(const Request& request, int32_t answer) {
  model::SamplingParams sampling = request.sampling;
  sampling.seed = SeedOfAnswer(sampling.seed, answer);
  std::vector<int32_t> tokens = request.prompt;
  for (int32_t index = 0; index < request.stopping.max_tokens; ++index) {
    tokens.push_back(FakeStepRunner::NextToken(tokens, index, sampling, {}, kDrivenVocabulary));
  }
  return {tokens.begin() + static_cast<int64_t>(request.prompt.size()), tokens.end()};
}

class CountingLog final : public base::Log {
 public:
  void Write(absl::string_view event, nlohmann::ordered_json fields) override {
    if (event == "request_finished") lines.push_back(std::move(fields));
  }
  std::vector<nlohmann::ordered_json> lines;
};

class World : public DrivenEngine {
 public:
  using DrivenEngine::DrivenEngine;

  std::pair<RequestId, std::shared_ptr<RecordingSink>> Submit(
      const Request& request, std::shared_ptr<RecordingSink> sink = nullptr) {
    if (sink == nullptr) sink = std::make_shared<RecordingSink>();
    const absl::StatusOr<RequestId> id = engine_->Submit(request, sink);
    EXPECT_TRUE(id.ok()) << id.status();
    return {id.value_or(0), sink};
  }
  void Finish(const RecordingSink& sink) {
    for (int i = 0; i < 2000 && !sink.finished(); ++i) Round();
    ASSERT_TRUE(sink.finished());
  }
  void RoundsUntilTokens(const RecordingSink& sink, int32_t answer, size_t count) {
    for (int i = 0; i < 200 && sink.tokens(answer).size() < count; ++i) Round();
    ASSERT_GE(sink.tokens(answer).size(), count);
  }
};

class ForksTest : public testing::TestWithParam<Queues> {};

TEST_P(ForksTest, EachAnswerIsThatOfARequestWithItsSeed) {
  // Prompts that end everywhere in a block, and one that is longer than a chunk.
  for (const int32_t prompt_tokens : {1, 2, 3, 4, 5, 6, 8, 9, 41}) {
    SCOPED_TRACE(testing::Message() << prompt_tokens << " prompt tokens");
    Request request = MakeRequest(prompt_tokens, 11, 4);
    request.sampling.prompt_logprobs = 0;
    World world(Options(GetParam()));
    const auto together = world.Submit(request).second;
    world.Finish(*together);
    EXPECT_EQ(world.engine_->Load().preemptions_total, 0);
    EXPECT_EQ(together->prompt_logprobs().size(), 1u);
    for (int32_t answer = 0; answer < 4; ++answer) {
      Request alone = request;
      alone.n = 1;
      alone.sampling.seed = SeedOfAnswer(request.sampling.seed, answer);
      const auto single = world.Submit(alone).second;
      world.Finish(*single);
      EXPECT_EQ(together->tokens(answer), single->tokens()) << "answer " << answer;
      EXPECT_EQ(together->tokens(answer), Quiet(request, answer)) << "answer " << answer;
      EXPECT_EQ(together->logprobs(answer), single->logprobs()) << "answer " << answer;
      EXPECT_EQ(together->answer_finish(answer).reason, FinishReason::kLength);
    }
    EXPECT_NE(together->tokens(0), together->tokens(1));
  }
}

TEST_P(ForksTest, ThePromptIsPrefilledOnceAndItsBlocksAreShared) {
  CountingLog log;
  World world(Options(GetParam()), &log);
  const int32_t prompt_tokens = 42;  // Ten blocks and a half: of 41 tokens, ten are full.
  const auto sink = world.Submit(MakeRequest(prompt_tokens, 6, 4)).second;
  for (int32_t answer = 0; answer < 4; ++answer) world.RoundsUntilTokens(*sink, answer, 2);
  // Ten in common; of each answer its own copy of the eleventh, and at most one more.
  EXPECT_GE(world.memory_->blocks().used_blocks(), 10 + 4);
  EXPECT_LE(world.memory_->blocks().used_blocks(), 10 + 4 * 2);
  EXPECT_EQ(world.memory_->blocks().used_blocks(), world.memory_->accounts().used_total());
  const MemoryView memory = world.engine_->Memory();
  const int64_t token_bytes = world.memory_->geometry().bytes_per_token();
  EXPECT_LE(memory.needed_bytes, (40 + 4 * 8) * token_bytes);
  EXPECT_GE(memory.needed_bytes, (40 + 4 * 2) * token_bytes);
  EXPECT_EQ(world.engine_->Load().running_requests, 1);
  world.Finish(*sink);
  EXPECT_EQ(world.engine_->Load().prefilled_tokens_total, prompt_tokens);
  EXPECT_EQ(world.engine_->Load().completion_tokens_total, 4 * 6);
  EXPECT_EQ(world.engine_->Load().finished_total, 1);
  EXPECT_EQ(world.memory_->blocks().used_blocks(), 0);
  ASSERT_EQ(log.lines.size(), 1u);
  EXPECT_EQ(log.lines[0]["answers"], 4);
  EXPECT_EQ(log.lines[0]["prompt_tokens"], prompt_tokens);
  EXPECT_EQ(log.lines[0]["completion_tokens"], 4 * 6);
  EXPECT_EQ(sink->finish().completion_tokens, 4 * 6);
}

TEST_P(ForksTest, OneAnswerStopsAndTheOthersGoOn) {
  // The first too, at the token that the prompt gives.
  for (const auto& [answer, index] : std::vector<std::pair<int32_t, int32_t>>{{0, 0}, {2, 3}}) {
    World world(Options(GetParam()));
    const Request request = MakeRequest(10, 12, 3);
    const auto sink = world.Submit(request, std::make_shared<RecordingSink>(index, answer)).second;
    world.Finish(*sink);
    for (int32_t i = 0; i < 3; ++i) {
      std::vector<int32_t> wanted = Quiet(request, i);
      if (i == answer) wanted.resize(static_cast<size_t>(index) + 1);
      EXPECT_EQ(sink->tokens(i), wanted);
      EXPECT_EQ(sink->answer_finish(i).reason,
                i == answer ? FinishReason::kStop : FinishReason::kLength);
    }
    EXPECT_EQ(sink->finish().reason, sink->answer_finish(0).reason);
    EXPECT_EQ(world.engine_->Load().prefilled_tokens_total, 10);
  }
}

TEST_P(ForksTest, ACancelEndsAllAnswers) {
  for (const size_t tokens_before : {0, 2}) {
    World world(Options(GetParam()));
    const auto [id, sink] = world.Submit(MakeRequest(40, 50, 4));
    world.Plan();
    if (tokens_before > 0) world.RoundsUntilTokens(*sink, 3, tokens_before);
    world.engine_->Cancel(id);
    world.Round();
    ASSERT_TRUE(sink->finished());
    for (int32_t answer = 0; answer < 4; ++answer) {
      EXPECT_EQ(sink->answer_finish(answer).reason, FinishReason::kCancelled);
    }
    EXPECT_EQ(sink->finish().reason, FinishReason::kCancelled);
    EXPECT_EQ(world.memory_->blocks().used_blocks(), 0);
  }
}

TEST_P(ForksTest, AnAnswerThatFailsEndsTheRequest) {
  World world(Options(GetParam()));
  const auto sink = world.Submit(MakeRequest(20, 50, 3)).second;
  world.RoundsUntilTokens(*sink, 2, 2);
  world.runner_->FailNextSequence(Lane::kDecode, absl::UnknownError("the machine hiccuped"));
  for (int i = 0; i < 4; ++i) world.Round();
  ASSERT_TRUE(sink->finished());
  for (int32_t answer = 0; answer < 3; ++answer) {
    EXPECT_EQ(sink->answer_finish(answer).status.code(), absl::StatusCode::kInternal);
  }
  EXPECT_EQ(sink->finish().status.code(), absl::StatusCode::kInternal);
}

// A limit with room for the first answer, and not for all: the last ones give way, recompute the
// prompt for themselves, and go on with the same tokens.
TEST_P(ForksTest, AnswersGiveWayFromTheLastAndLoseNoToken) {
  World world(Options(GetParam()));
  const Request request = MakeRequest(30, 60, 4);
  const auto sink = world.Submit(request).second;
  world.RoundsUntilTokens(*sink, 3, 20);
  const int64_t workspaces = world.engine_->core().WorkspaceBytesMax();
  ASSERT_TRUE(
      world.engine_->BeginMemoryLimit({workspaces + 9 * kDrivenPageBytes, absl::Milliseconds(100)})
          .ok());
  world.Finish(*sink);
  EXPECT_EQ(sink->answer_finish(0).preemptions, 0);
  EXPECT_GT(sink->answer_finish(3).preemptions, 0);
  EXPECT_GT(sink->finish().preemptions, 0);
  for (int32_t answer = 0; answer < 4; ++answer) {
    EXPECT_EQ(sink->tokens(answer), Quiet(request, answer)) << "answer " << answer;
  }
}

// Where there is a swap space they are copied, with the prompt's blocks that the others go on with.
TEST_P(ForksTest, AnswersThatShareBlocksAreSwapped) {
  LocalEngineOptions options = Options(GetParam());
  options.queue.growth_prior_tokens = 1;
  options.memory.limit_bytes = 16 * kDrivenPageBytes;
  options.memory.swap_bytes_max = int64_t{1} << 20;
  World world(options);
  const Request request = MakeRequest(30, 60, 4);
  const auto sink = world.Submit(request).second;
  world.Finish(*sink);
  EXPECT_EQ(sink->answer_finish(0).preemptions, 0);
  EXPECT_GT(sink->answer_finish(3).preemptions, 0);
  for (int32_t answer = 0; answer < 4; ++answer) {
    EXPECT_EQ(sink->tokens(answer), Quiet(request, answer)) << "answer " << answer;
  }
  const SwapView swap = world.engine_->Memory().swap;
  EXPECT_GT(swap.out_sequences_total, 0);
  EXPECT_EQ(swap.in_sequences_total, swap.out_sequences_total);
  EXPECT_EQ(swap.used_bytes, 0);
  EXPECT_EQ(world.engine_->Load().recomputed_tokens_total, 0);
}

// Each counts: with three places taken, a request of four answers waits for one of six to be free.
TEST_P(ForksTest, AnswersTakeThePlacesOfSequences) {
  World world(Options(GetParam()));
  const auto first = world.Submit(MakeRequest(8, 20, 3)).second;
  const auto second = world.Submit(MakeRequest(8, 4, 4)).second;
  world.RoundsUntilTokens(*first, 2, 5);
  EXPECT_TRUE(second->tokens().empty());
  EXPECT_EQ(world.engine_->Load().waiting_requests, 1);
  world.Finish(*first);
  world.Finish(*second);
}

TEST_P(ForksTest, AsManyAsCanRunAreTaken) {
  World world(Options(GetParam()));
  for (const int32_t n : {-1, 0, 7, 100}) {
    EXPECT_EQ(world.engine_->Submit(MakeRequest(8, 4, n), std::make_shared<RecordingSink>())
                  .status()
                  .code(),
              absl::StatusCode::kInvalidArgument)
        << n;
  }
  const auto sink = world.Submit(MakeRequest(8, 4, 6)).second;
  world.Finish(*sink);
  EXPECT_EQ(sink->finish().completion_tokens, 6 * 4);
}

INSTANTIATE_TEST_SUITE_P(Queues, ForksTest, testing::Values(Queues::kSeparate, Queues::kOne),
                         [](const testing::TestParamInfo<Queues>& info) {
                           return std::string(info.param == Queues::kOne ? "one" : "separate");
                         });

}  // namespace
}  // namespace ebb::engine
