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
};

// Runs the requests, all at once or one after the other; each must end at its length.
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
  for (const auto& sink : sinks) {
    Answer answer;
    const Finish finish = sink->Wait();
    EXPECT_EQ(finish.reason, FinishReason::kLength) << finish.status;
    answer.tokens = sink->tokens();
    answer.logprobs = sink->logprobs();
    for (const auto& call : sink->prompt_logprobs()) {
      for (const PromptLogprob& one : call) answer.prompt_logprobs.push_back(one.logprob);
    }
    answer.preemptions = finish.preemptions;
    answers.push_back(std::move(answer));
  }
  const MemoryView memory = engine->Memory();
  EXPECT_LE(memory.held_bytes, memory.limit_bytes);
  return answers;
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
