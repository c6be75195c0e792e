// What an engine answered to a set of requests, to be compared bit for bit.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/engine.h"
#include "gtest/gtest.h"
#include "tests/engine/recording_sink.h"

namespace ebb::engine {

struct Answer {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
  std::vector<float> prompt_logprobs;
  int32_t preemptions = 0;
  int32_t cached_tokens = 0;
};

// Runs the requests, all at once or one after the other; each must end at its length. Those with
// several answers give one after the other, prompt log-probabilities with the first.
inline std::vector<Answer> Answers(Engine* engine, const std::vector<Request>& requests,
                                   bool at_once) {
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  for (const Request& request : requests) {
    sinks.push_back(std::make_shared<RecordingSink>());
    const absl::StatusOr<RequestId> id = engine->Submit(request, sinks.back());
    EXPECT_TRUE(id.ok()) << id.status();
    if (!id.ok()) return {};
    if (!at_once) sinks.back()->Wait();
  }
  std::vector<Answer> answers;
  for (size_t i = 0; i < sinks.size(); ++i) {
    const Finish finish = sinks[i]->Wait();
    EXPECT_EQ(finish.reason, FinishReason::kLength) << finish.status;
    if (finish.reason != FinishReason::kLength) return {};
    for (int32_t n = 0; n < requests[i].n; ++n) {
      Answer answer;
      answer.tokens = sinks[i]->tokens(n);
      answer.logprobs = sinks[i]->logprobs(n);
      if (n == 0) {
        for (const auto& call : sinks[i]->prompt_logprobs()) {
          for (const PromptLogprob& one : call) answer.prompt_logprobs.push_back(one.logprob);
        }
      }
      answer.preemptions = sinks[i]->answer_finish(n).preemptions;
      answer.cached_tokens = sinks[i]->answer_finish(n).cached_tokens;
      answers.push_back(std::move(answer));
    }
  }
  const MemoryView memory = engine->Memory();
  EXPECT_LE(memory.held_bytes, memory.limit_bytes);
  return answers;
}

// For each answer of the request, the one that asks for that alone.
inline std::vector<Request> SingleRequests(const Request& request) {
  std::vector<Request> singles(static_cast<size_t>(request.n), request);
  for (int32_t n = 0; n < request.n; ++n) {
    Request& single = singles[static_cast<size_t>(n)];
    single.n = 1;
    single.sampling.seed = SeedOfAnswer(request.sampling.seed, n);
    if (n > 0) single.sampling.prompt_logprobs = -1;
  }
  return singles;
}

// Not the tokens alone: the numbers before the choice are the same too, bit for bit.
inline void ExpectSame(const std::vector<Answer>& got, const std::vector<Answer>& wanted) {
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].tokens, wanted[i].tokens) << "request " << i;
    EXPECT_EQ(got[i].logprobs, wanted[i].logprobs) << "request " << i;
    EXPECT_EQ(got[i].prompt_logprobs, wanted[i].prompt_logprobs) << "request " << i;
  }
}

}  // namespace ebb::engine
