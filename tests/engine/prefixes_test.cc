// Prompts that begin alike: what they have in common is computed once, by those who may share it,
// and every answer is what it would be without a cache.

#include "engine/prefixes.h"

#include <memory>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/driven_engine.h"
#include "tests/engine/recording_sink.h"

namespace ebb::engine {
namespace {

constexpr int32_t kBlock = 4;

LocalEngineOptions Options(Queues queues) {
  LocalEngineOptions options = DrivenOptions();
  options.queue.queues = queues;
  options.queue.running_sequences_max = 8;
  return options;
}

std::vector<int32_t> Tokens(int32_t count, int32_t kind) {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < count; ++i) tokens.push_back((i * 7 + kind) % kDrivenVocabulary);
  return tokens;
}

Request MakeRequest(std::vector<int32_t> prompt, int32_t max_tokens = 6) {
  Request request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 1;
  request.sampling.seed = 5;
  request.stopping.max_tokens = max_tokens;
  request.stopping.ignore_eos = true;
  return request;
}

class World : public DrivenEngine {
 public:
  explicit World(const LocalEngineOptions& options)
      : DrivenEngine(options, nullptr, absl::Milliseconds(20), true) {}

  std::shared_ptr<RecordingSink> Submit(const Request& request) {
    auto sink = std::make_shared<RecordingSink>();
    requests_.push_back({request, sink});
    const absl::StatusOr<RequestId> id = engine_->Submit(request, sink);
    EXPECT_TRUE(id.ok()) << id.status();
    return sink;
  }
  // All answers are those of a world without memory.
  void FinishAll() {
    for (const auto& [request, sink] : requests_) {
      for (int i = 0; i < 2000 && !sink->finished(); ++i) Round();
      ASSERT_TRUE(sink->finished());
      std::vector<int32_t> tokens = request.prompt;
      for (int32_t index = 0; index < request.stopping.max_tokens; ++index) {
        tokens.push_back(
            FakeStepRunner::NextToken(tokens, index, request.sampling, {}, kDrivenVocabulary));
      }
      EXPECT_EQ(sink->tokens(),
                std::vector<int32_t>(tokens.begin() + static_cast<int64_t>(request.prompt.size()),
                                     tokens.end()));
    }
    requests_.clear();
  }
  // Of one request that runs alone.
  int32_t CachedTokens(const Request& request) {
    const std::shared_ptr<RecordingSink> sink = Submit(request);
    FinishAll();
    return sink->finish().cached_tokens;
  }
  int64_t prefilled_tokens() { return engine_->Load().prefilled_tokens_total; }

 private:
  std::vector<std::pair<Request, std::shared_ptr<RecordingSink>>> requests_;
};

class PrefixesTest : public testing::TestWithParam<Queues> {};

TEST_P(PrefixesTest, APromptThatWasComputedIsNotComputedAgain) {
  World world(Options(GetParam()));
  EXPECT_EQ(world.CachedTokens(MakeRequest(Tokens(42, 1))), 0);
  EXPECT_EQ(world.prefilled_tokens(), 42);
  EXPECT_GT(world.engine_->Memory().cached_bytes, 0);
  EXPECT_EQ(world.CachedTokens(MakeRequest(Tokens(42, 1))), 40);
  EXPECT_EQ(world.prefilled_tokens(), 44);
  // The last token is always computed, for what follows it.
  EXPECT_EQ(world.CachedTokens(MakeRequest(Tokens(40, 1))), 36);
  std::vector<int32_t> other = Tokens(42, 1);
  other[17] += 1;
  EXPECT_EQ(world.CachedTokens(MakeRequest(other)), 16);
  const memory::PrefixCacheTotals totals = world.engine_->Memory().prefix_cache;
  EXPECT_EQ(totals.queried_tokens, 42 + 42 + 40 + 42);
  EXPECT_EQ(totals.hit_tokens, 40 + 36 + 16);
}

TEST_P(PrefixesTest, AChatsNextTurnFindsTheAnswerToo) {
  World world(Options(GetParam()));
  Request first = MakeRequest(Tokens(18, 1), 20);
  const std::shared_ptr<RecordingSink> sink = world.Submit(first);
  world.FinishAll();
  std::vector<int32_t> next = first.prompt;
  for (const int32_t token : sink->tokens()) next.push_back(token);
  next.push_back(9);
  // 37 of its 38 tokens were computed: nine blocks.
  EXPECT_EQ(world.CachedTokens(MakeRequest(next)), 36);
}

TEST_P(PrefixesTest, TenantsAndSaltsShareNothing) {
  World world(Options(GetParam()));
  Request request = MakeRequest(Tokens(42, 1));
  request.tenant = "alice";
  EXPECT_EQ(world.CachedTokens(request), 0);
  request.tenant = "bob";
  EXPECT_EQ(world.CachedTokens(request), 0);
  request.cache_salt = "s";
  EXPECT_EQ(world.CachedTokens(request), 0);
  EXPECT_EQ(world.CachedTokens(request), 40);
  request.tenant = "bobs";
  request.cache_salt = "";
  EXPECT_EQ(world.CachedTokens(request), 0);
  request.tenant = "alice";
  EXPECT_EQ(world.CachedTokens(request), 40);
}

TEST_P(PrefixesTest, PromptLogProbabilitiesAreComputedAllTheSame) {
  World world(Options(GetParam()));
  Request request = MakeRequest(Tokens(42, 1));
  EXPECT_EQ(world.CachedTokens(request), 0);
  request.sampling.prompt_logprobs = 0;
  const std::shared_ptr<RecordingSink> sink = world.Submit(request);
  world.FinishAll();
  EXPECT_EQ(sink->finish().cached_tokens, 0);
  ASSERT_EQ(sink->prompt_logprobs().size(), 1u);
  EXPECT_EQ(sink->prompt_logprobs()[0].size(), 41u);
  EXPECT_EQ(world.prefilled_tokens(), 84);
  // It was not looked up either.
  EXPECT_EQ(world.engine_->Memory().prefix_cache.queried_tokens, 42);
}

TEST_P(PrefixesTest, AHerdOnOnePromptComputesItOnce) {
  World world(Options(GetParam()));
  for (int32_t i = 0; i < 6; ++i) {
    std::vector<int32_t> prompt = Tokens(82, 1);
    prompt.push_back(i);  // What each asks about it.
    world.Submit(MakeRequest(prompt));
  }
  world.Plan();
  EXPECT_EQ(world.engine_->Load().running_requests, 6);
  world.FinishAll();
  // Twenty blocks once, and of each the last three tokens.
  EXPECT_EQ(world.prefilled_tokens(), 80 + 6 * 3);
  EXPECT_EQ(world.engine_->Load().preemptions_total, 0);
}

TEST_P(PrefixesTest, WhileTheyRunTheyHoldItOnce) {
  World world(Options(GetParam()));
  for (int32_t i = 0; i < 4; ++i) {
    std::vector<int32_t> prompt = Tokens(82, 1);
    prompt.push_back(i);
    world.Submit(MakeRequest(prompt, 30));
  }
  for (int i = 0; i < 30; ++i) world.Round();
  EXPECT_GE(world.memory_->blocks().used_blocks(), 20 + 4);
  EXPECT_LE(world.memory_->blocks().used_blocks(), 20 + 4 * 9);
  const int64_t token_bytes = world.memory_->geometry().bytes_per_token();
  EXPECT_LE(world.engine_->Memory().needed_bytes, (80 + 4 * 33) * token_bytes);
  world.FinishAll();
}

TEST_P(PrefixesTest, ManyFitThatWouldNotWithoutSharing) {
  LocalEngineOptions options = Options(GetParam());
  // 8 pages are 128 tokens: one prompt of 80 fits with its answer, two of their own would not.
  options.memory.limit_bytes = 14 * kDrivenPageBytes;
  World world(options);
  world.Submit(MakeRequest(Tokens(80, 1), 8));
  world.FinishAll();
  for (int32_t i = 0; i < 3; ++i) {
    std::vector<int32_t> prompt = Tokens(80, 1);
    prompt.push_back(i);
    world.Submit(MakeRequest(prompt, 8));
  }
  int64_t most = 0;
  for (int i = 0; i < 40; ++i) {
    world.Round();
    most = std::max(most, world.engine_->Load().running_requests);
  }
  EXPECT_GE(most, 2);
  world.FinishAll();
}

TEST_P(PrefixesTest, WhatIsThereStartsFirstAmongEquals) {
  for (const bool ahead : {true, false}) {
    LocalEngineOptions options = Options(GetParam());
    options.queue.running_sequences_max = 1;
    options.prefix_cache.ahead = ahead ? absl::Seconds(1) : absl::ZeroDuration();
    World world(options);
    world.Submit(MakeRequest(Tokens(42, 1)));
    world.Plan();
    world.clock_.Advance(absl::Milliseconds(10));
    const auto other = world.Submit(MakeRequest(Tokens(42, 3)));
    world.clock_.Advance(absl::Milliseconds(10));
    const auto alike = world.Submit(MakeRequest(Tokens(42, 1)));
    for (int i = 0; i < 200 && !other->finished() && !alike->finished(); ++i) world.Round();
    EXPECT_EQ(alike->finished(), ahead);
    EXPECT_EQ(other->finished(), !ahead);
    world.FinishAll();
  }
}

TEST_P(PrefixesTest, AFailedStepLeavesNothingBehind) {
  World world(Options(GetParam()));
  const Lane lane = GetParam() == Queues::kOne ? Lane::kDecode : Lane::kPrefill;
  const auto sink = std::make_shared<RecordingSink>();
  ASSERT_TRUE(world.engine_->Submit(MakeRequest(Tokens(42, 1)), sink).ok());
  world.Round();
  world.runner_->FailNext(lane, absl::InternalError("planted"));
  for (int i = 0; i < 20 && !sink->finished(); ++i) world.Round();
  EXPECT_EQ(sink->finish().status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(world.CachedTokens(MakeRequest(Tokens(42, 1))), 0);
}

TEST_P(PrefixesTest, NothingStaysLongerThanItMay) {
  LocalEngineOptions options = Options(GetParam());
  options.memory.idle = absl::Seconds(1);
  options.prefix_cache.idle = absl::Seconds(10);
  World world(options);
  EXPECT_EQ(world.CachedTokens(MakeRequest(Tokens(42, 1))), 0);
  world.clock_.Advance(absl::Seconds(9));
  for (int i = 0; i < 10; ++i) world.Round();
  EXPECT_GT(world.engine_->Memory().held_bytes, 0);
  world.clock_.Advance(absl::Seconds(2));
  for (int i = 0; i < 10; ++i) world.Round();
  EXPECT_EQ(world.engine_->Memory().held_bytes, 0);
  EXPECT_EQ(world.CachedTokens(MakeRequest(Tokens(42, 1))), 0);
}

INSTANTIATE_TEST_SUITE_P(Queues, PrefixesTest, testing::Values(Queues::kSeparate, Queues::kOne),
                         [](const testing::TestParamInfo<Queues>& info) {
                           return info.param == Queues::kOne ? "one" : "separate";
                         });

}  // namespace
}  // namespace ebb::engine
