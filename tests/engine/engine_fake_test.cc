#include "engine/engine_fake.h"

#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "tests/engine/recording_sink.h"

namespace ebb::engine {
namespace {

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
