#include "server/stats_log.h"

#include <memory>
#include <utility>

#include "base/clock_fake.h"
#include "engine/engine_fake.h"
#include "gtest/gtest.h"
#include "tests/server/keep_log.h"
#include "tests/server/wait_until.h"

namespace ebb::server {
namespace {

class IgnoringSink final : public engine::RequestSink {
 public:
  void OnPromptLogprobs(std::vector<engine::PromptLogprob>) override {}
  engine::SinkAnswer OnToken(const engine::Token&) override {
    return engine::SinkAnswer::kContinue;
  }
  void OnFinish(const engine::Finish&) override {}
};

TEST(StatsLogTest, TellsRatesAndIsSilentWhileIdle) {
  base::FakeClock clock;
  engine::FakeEngine engine;
  engine::MemoryView memory;
  memory.held_bytes = 250;
  memory.limit_bytes = 1000;
  engine.SetMemoryView(memory);
  KeepLog log;
  StatsLog stats(&engine, &clock, &log, absl::Seconds(10));
  clock.Advance(absl::Seconds(10));
  stats.Tick();
  EXPECT_TRUE(log.Of("stats").empty());  // Nothing was done.

  engine::Request request;
  request.prompt = {1, 2, 3, 4, 5};
  request.stopping.max_tokens = 100;
  ASSERT_TRUE(engine.Submit(std::move(request), std::make_shared<IgnoringSink>()).ok());
  ASSERT_TRUE(tests::WaitUntil([&] {
    const engine::LoadView load = engine.Load();
    return load.finished_total == 1 && load.running_requests == 0;
  }));
  clock.Advance(absl::Seconds(9));
  stats.Tick();
  EXPECT_TRUE(log.Of("stats").empty());  // Not yet.
  clock.Advance(absl::Seconds(1));
  stats.Tick();
  ASSERT_EQ(log.Of("stats").size(), 1u);
  const nlohmann::ordered_json line = log.Of("stats")[0];
  EXPECT_EQ(line.at("seconds"), 10);
  EXPECT_EQ(line.at("prompt_tokens_per_second"), 0.5);
  EXPECT_EQ(line.at("generation_tokens_per_second"), 0.5);
  EXPECT_EQ(line.at("running_requests"), 0);
  EXPECT_EQ(line.at("waiting_requests"), 0);
  EXPECT_EQ(line.at("held_ratio"), 0.25);
  clock.Advance(absl::Seconds(10));
  stats.Tick();
  EXPECT_EQ(log.Of("stats").size(), 1u);
}

}  // namespace
}  // namespace ebb::server
