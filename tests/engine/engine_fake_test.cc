#include "engine/engine_fake.h"

#include <memory>
#include <vector>

#include "gtest/gtest.h"

namespace ebb::engine {
namespace {

// Remembers what it is told; Wait() returns once the request has ended.
class RecordingSink final : public RequestSink {
 public:
  void OnPromptLogprobs(std::vector<PromptLogprob>) override {}
  SinkAnswer OnToken(const Token& token) override {
    base::MutexLock lock(&mutex_);
    tokens_.push_back(token.id);
    changed_.SignalAll();
    return SinkAnswer::kContinue;
  }
  void OnFinish(const Finish& finish) override {
    base::MutexLock lock(&mutex_);
    finish_ = finish;
    ++finish_count_;
    changed_.SignalAll();
  }
  Finish Wait() {
    base::MutexLock lock(&mutex_);
    while (finish_count_ == 0) changed_.Wait(&mutex_);
    EXPECT_EQ(finish_count_, 1);
    return finish_;
  }
  void WaitForTokens(size_t count) {
    base::MutexLock lock(&mutex_);
    while (tokens_.size() < count) changed_.Wait(&mutex_);
  }
  std::vector<int32_t> tokens() {
    base::MutexLock lock(&mutex_);
    return tokens_;
  }

 private:
  base::Mutex mutex_;
  base::CondVar changed_;
  std::vector<int32_t> tokens_ ABSL_GUARDED_BY(mutex_);
  Finish finish_ ABSL_GUARDED_BY(mutex_);
  int finish_count_ ABSL_GUARDED_BY(mutex_) = 0;
};

Request MakeRequest(std::vector<int32_t> prompt, int32_t max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.stopping.max_tokens = max_tokens;
  return request;
}

TEST(FakeEngineTest, EchoesThePromptUpToMaxTokens) {
  FakeEngine engine;
  auto sink = std::make_shared<RecordingSink>();
  ASSERT_TRUE(engine.Submit(MakeRequest({4, 5, 6}, 2), sink).ok());
  const Finish finish = sink->Wait();
  EXPECT_EQ(finish.reason, FinishReason::kLength);
  EXPECT_EQ(finish.completion_tokens, 2);
  EXPECT_EQ(sink->tokens(), (std::vector<int32_t>{4, 5}));
}

TEST(FakeEngineTest, AHeldRequestCanBeCancelled) {
  FakeEngine engine;
  engine.SetScript([](const Request&) {
    FakeEngine::Script script;
    script.tokens = {1, 2, 3};
    script.hold_after = 2;
    return script;
  });
  auto sink = std::make_shared<RecordingSink>();
  const absl::StatusOr<RequestId> id = engine.Submit(MakeRequest({9}, 10), sink);
  ASSERT_TRUE(id.ok());
  sink->WaitForTokens(2);
  engine.Cancel(*id);
  EXPECT_EQ(sink->Wait().reason, FinishReason::kCancelled);
  EXPECT_EQ(sink->tokens(), (std::vector<int32_t>{1, 2}));
}

TEST(FakeEngineTest, DrainEndsWhatIsHeldAndRefusesMore) {
  FakeEngine engine;
  engine.SetScript([](const Request&) {
    FakeEngine::Script script;
    script.hold_after = 0;
    return script;
  });
  auto sink = std::make_shared<RecordingSink>();
  ASSERT_TRUE(engine.Submit(MakeRequest({9}, 10), sink).ok());
  engine.Drain(absl::ZeroDuration());
  EXPECT_EQ(sink->Wait().status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(engine.Submit(MakeRequest({9}, 10), sink).status().code(),
            absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace ebb::engine
