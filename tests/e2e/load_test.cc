// Many clients at once, clients that leave, deadlines, malformed requests: nobody disturbs another,
// and what was taken comes back.
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "tests/e2e/canaries.h"
#include "tests/e2e/client.h"
#include "tests/e2e/server_process.h"
#include "tests/server/test_seed.h"
#include "tests/server/wait_until.h"

namespace ebb::tests {
namespace {

class LoadTest : public testing::Test {
 protected:
  void SetUp() override {
    server_ = ServerProcess::StartReady({"memory.idle_ms=500", "prefix_cache.idle_ms=100"});
    ASSERT_NE(server_, nullptr);
    client_ = std::make_unique<Client>(server_->address());
  }

  // Everything was given back: nothing is needed, and after the idle time nothing is mapped.
  void ExpectAllReturned() {
    EXPECT_TRUE(WaitUntil([&] { return client_->Memory().needed_bytes() == 0; }));
    EXPECT_TRUE(WaitUntil([&] { return client_->Memory().pages_mapped() == 0; }));
    const v1::GetServerInfoResponse info = client_->Info();
    EXPECT_EQ(info.running_requests(), 0);
    EXPECT_EQ(info.waiting_requests(), 0);
  }

  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<Client> client_;
};

TEST_F(LoadTest, SixtyFourClientsAtOnceGetWhatOneGets) {
  constexpr int kClients = 64;
  const std::vector<std::string> prompts = {"The capital of France is", "Once upon a time",
                                            "def fibonacci(n):", "The three laws of motion"};
  std::vector<std::vector<int32_t>> alone;
  for (const std::string& prompt : prompts) {
    alone.push_back(client_->Stream(Greedy(prompt, 16)).token_ids);
    ASSERT_EQ(alone.back().size(), 16u);
  }
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int i = 0; i < kClients; ++i) {
    threads.emplace_back([&, i] {
      Client client(server_->address());
      const size_t which = static_cast<size_t>(i) % prompts.size();
      const Streamed streamed = client.Stream(Greedy(prompts[which], 16));
      EXPECT_TRUE(streamed.status.ok()) << streamed.status.error_message();
      if (streamed.status.ok() && streamed.token_ids == alone[which] &&
          streamed.finished_count == 1) {
        ++right;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, kClients);
  EXPECT_EQ(client_->Info().finished_total(), kClients + 4);
  ExpectAllReturned();
}

TEST_F(LoadTest, ACancelStormDisturbsNobodyAndGivesAllBack) {
  const uint64_t seed = TestSeed();
  BesideCanaries(*server_, nullptr, [&] {
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&, i] {
        Client client(server_->address());
        for (int round = 0; round < 4; ++round) {
          base::Rng rng(base::RandomBits(seed, static_cast<uint64_t>(i * 10 + round)));
          const auto leave_after = static_cast<size_t>(rng.Between(0, 8));
          const std::string prompt(static_cast<size_t>(rng.Between(1, 600)), 'a');
          if (rng.Chance(0.3)) {
            // Leaves while queued or in prefill, as a unary client.
            grpc::ClientContext context;
            context.set_deadline(std::chrono::system_clock::now() +
                                 std::chrono::milliseconds(rng.Between(1, 60)));
            v1::GenerateResponse response;
            client.inference().Generate(&context, Greedy(prompt, 500), &response);
            continue;
          }
          const Streamed streamed =
              client.Stream(Greedy(prompt, 500), [leave_after](const Streamed& so_far) {
                return so_far.token_ids.size() < leave_after;
              });
          EXPECT_EQ(streamed.status.error_code(), grpc::StatusCode::CANCELLED) << "SEED=" << seed;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
  ExpectAllReturned();
  // No token was computed long after its client had left: 500 were asked for.
  for (const nlohmann::json& line : server_->Lines("request_finished")) {
    if (line["status"] == "OK") continue;
    EXPECT_LT(line["completion_tokens"].get<int>(), 200) << line;
  }
}

TEST_F(LoadTest, DeadlinesHoldQueuedAndRunning) {
  server_ = ServerProcess::StartReady(
      {"memory.idle_ms=500", "prefix_cache.idle_ms=100", "scheduler.running_sequences_max=1"});
  ASSERT_NE(server_, nullptr);
  client_ = std::make_unique<Client>(server_->address());
  const auto deadline = std::chrono::system_clock::now() + std::chrono::milliseconds(600);
  Streamed queued;
  std::thread waiter;
  grpc::ClientContext context;
  context.set_deadline(deadline);
  const Streamed running = client_->Stream(
      Greedy("Once upon a time", 8000),
      [&](const Streamed&) {
        if (waiter.joinable()) return true;
        // The one place is taken from here on.
        waiter = std::thread([&] {
          grpc::ClientContext queued_context;
          queued_context.set_deadline(deadline - std::chrono::milliseconds(100));
          queued = Client(server_->address()).Stream(Greedy("hi", 5), nullptr, &queued_context);
        });
        return true;
      },
      &context);
  EXPECT_EQ(running.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  ASSERT_TRUE(waiter.joinable()) << "no token within the deadline";
  waiter.join();
  EXPECT_EQ(queued.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(queued.token_ids.empty());
  EXPECT_TRUE(WaitUntil([&] { return client_->Info().finished_total() == 2; }));
  EXPECT_TRUE(WaitUntil([&] { return server_->Lines("request_finished").size() == 2; }));
  for (const nlohmann::json& line : server_->Lines("request_finished")) {
    EXPECT_EQ(line["status"], "DEADLINE_EXCEEDED") << line;
  }
  ExpectAllReturned();
}

// The client has stopped reading; the engine has long forgotten the request.
TEST_F(LoadTest, ASlowReaderPinsNoMemory) {
  v1::GenerateRequest request = Greedy("Once upon a time", 300);
  request.mutable_output()->set_logprobs(20);
  grpc::ClientContext context;
  const auto stream = client_->inference().GenerateStream(&context, request);
  EXPECT_TRUE(WaitUntil([&] { return client_->Info().finished_total() == 1; }));
  ExpectAllReturned();
  int token_count = 0;
  for (v1::GenerateStreamResponse message; stream->Read(&message);) {
    token_count += message.delta().token_ids_size();
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(token_count, 300);
}

TEST_F(LoadTest, AFullQueueIsRefusedAndTheRestAnswered) {
  const auto small = ServerProcess::StartReady(
      {"scheduler.queue_requests_max=4", "scheduler.running_sequences_max=2"});
  ASSERT_NE(small, nullptr);
  std::vector<std::thread> threads;
  std::atomic<int> answered = 0;
  std::atomic<int> refused = 0;
  for (int i = 0; i < 24; ++i) {
    threads.emplace_back([&] {
      const Streamed streamed = Client(small->address()).Stream(Greedy("Once upon a time", 40));
      if (streamed.status.ok() && streamed.token_ids.size() == 40) ++answered;
      if (streamed.status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) ++refused;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(answered + refused, 24);
  EXPECT_GE(answered, 4);
  EXPECT_GE(refused, 1);
}

}  // namespace
}  // namespace ebb::tests
