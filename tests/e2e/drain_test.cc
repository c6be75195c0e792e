// How the server ends: signals and the Drain call, under load.
#include <signal.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/e2e/client.h"
#include "tests/e2e/ledger.h"
#include "tests/e2e/log_schema.h"
#include "tests/e2e/server_process.h"
#include "tests/server/wait_until.h"

namespace ebb::tests {
namespace {

// Clients that ask again and again until the server turns them away.
class Crowd {
 public:
  Crowd(const std::string& address, int count, int64_t tokens) {
    for (int i = 0; i < count; ++i) {
      threads_.emplace_back([this, address, tokens, i] {
        Client client(address);
        for (int round = 0;; ++round) {
          v1::GenerateRequest request = Greedy("Once upon a time", tokens);
          request.set_request_id("client-" + std::to_string(i) + "-" + std::to_string(round));
          Streamed streamed = client.Stream(request, [this](const Streamed&) {
            ++delta_count_;
            return true;
          });
          const bool more = streamed.status.ok();
          ledger_.Record(request.request_id(), streamed);
          base::MutexLock lock(&mutex_);
          ended_.push_back(std::move(streamed));
          if (!more) return;
        }
      });
    }
  }
  bool WaitForDeltas(int count) {
    return WaitUntil([&] { return delta_count_ >= count; });
  }
  // What all their calls came to.
  std::vector<Streamed> Join() {
    for (std::thread& thread : threads_) thread.join();
    base::MutexLock lock(&mutex_);
    return ended_;
  }
  const Ledger& ledger() const { return ledger_; }

 private:
  std::atomic<int> delta_count_ = 0;
  Ledger ledger_;
  base::Mutex mutex_;
  std::vector<Streamed> ended_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

TEST(DrainTest, SigtermUnderLoadFinishesWhatRuns) {
  const auto server = ServerProcess::StartReady();
  ASSERT_NE(server, nullptr);
  Crowd crowd(server->address(), 16, 24);
  ASSERT_TRUE(crowd.WaitForDeltas(50));
  server->Signal(SIGTERM);
  const std::vector<Streamed> clients = crowd.Join();
  EXPECT_EQ(server->Wait(), 0);
  // Nobody lost an answer: those turned away were turned away at the start.
  for (const Streamed& streamed : clients) {
    if (streamed.status.ok()) {
      EXPECT_EQ(streamed.token_ids.size(), 24u);
    } else {
      // CANCELLED is gRPC's own answer to a call that comes at the very moment of closing.
      EXPECT_TRUE(streamed.status.error_code() == grpc::StatusCode::UNAVAILABLE ||
                  streamed.status.error_code() == grpc::StatusCode::CANCELLED)
          << streamed.status.error_code();
      EXPECT_FALSE(streamed.accepted);
    }
  }
  crowd.ledger().ExpectBalanced(*server);
  EXPECT_EQ(server->Lines("draining").size(), 1u);
  EXPECT_EQ(server->Lines("stopped").size(), 1u);
}

TEST(DrainTest, ASecondSignalHurries) {
  const auto server = ServerProcess::StartReady();
  ASSERT_NE(server, nullptr);
  Crowd crowd(server->address(), 8, 6000);  // Minutes of work.
  ASSERT_TRUE(crowd.WaitForDeltas(20));
  Client client(server->address());
  server->Signal(SIGTERM);
  ASSERT_FALSE(server->WaitForEvent("draining").is_null());
  EXPECT_TRUE(WaitUntil([&] { return client.Health() == 2; }));  // NOT_SERVING, and it answers.
  v1::GenerateResponse response;
  EXPECT_EQ(client.Generate(Greedy("hi", 1), &response).error_code(),
            grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(client.Info().state(), v1::SERVER_STATE_DRAINING);
  server->Signal(SIGTERM);
  const std::vector<Streamed> clients = crowd.Join();
  EXPECT_EQ(server->Wait(std::chrono::seconds(20)), 0);
  for (const Streamed& streamed : clients) {
    EXPECT_EQ(streamed.status.error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_TRUE(streamed.accepted);
  }
  crowd.ledger().ExpectBalanced(*server);
  ExpectLogFitsSchema(*server);
}

TEST(DrainTest, ADelayTakesRequestsWhileBalancersNotice) {
  const auto server = ServerProcess::StartReady({"server.drain_delay_ms=3600000"});
  ASSERT_NE(server, nullptr);
  Client client(server->address());
  server->Signal(SIGTERM);
  ASSERT_FALSE(server->WaitForEvent("not_ready").is_null());
  EXPECT_TRUE(WaitUntil([&] { return client.Health() == 2; }));  // NOT_SERVING.
  v1::GenerateResponse response;
  const grpc::Status taken = client.Generate(Greedy("hi", 3), &response);
  EXPECT_TRUE(taken.ok()) << taken.error_message();
  EXPECT_TRUE(server->Lines("draining").empty());
  server->Signal(SIGTERM);  // Ends the delay.
  EXPECT_EQ(server->Wait(), 0);
  EXPECT_EQ(server->Lines("draining").size(), 1u);
  EXPECT_EQ(server->Lines("request_finished").size(), 1u);
}

TEST(DrainTest, TheGraceEnds) {
  const auto server = ServerProcess::StartReady({"server.drain_grace_ms=200"});
  ASSERT_NE(server, nullptr);
  Crowd crowd(server->address(), 4, 6000);
  ASSERT_TRUE(crowd.WaitForDeltas(10));
  server->Signal(SIGINT);
  const std::vector<Streamed> clients = crowd.Join();
  EXPECT_EQ(server->Wait(std::chrono::seconds(20)), 0);
  for (const Streamed& streamed : clients) {
    EXPECT_EQ(streamed.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  }
  crowd.ledger().ExpectBalanced(*server);
}

TEST(DrainTest, TheDrainCallDoesTheSame) {
  const auto server = ServerProcess::StartReady();
  ASSERT_NE(server, nullptr);
  Crowd crowd(server->address(), 4, 24);
  ASSERT_TRUE(crowd.WaitForDeltas(10));
  Client client(server->address());
  grpc::ClientContext context;
  v1::DrainResponse response;
  ASSERT_TRUE(client.control().Drain(&context, {}, &response).ok());
  EXPECT_LE(response.running_requests() + response.waiting_requests(), 4);
  crowd.Join();
  EXPECT_EQ(server->Wait(), 0);
  crowd.ledger().ExpectBalanced(*server);
}

TEST(DrainTest, OneWhoOnlyWatchesDoesNotHoldItUp) {
  const auto server = ServerProcess::StartReady();
  ASSERT_NE(server, nullptr);
  Client client(server->address());
  grpc::ClientContext context;
  const auto watch = client.health().Watch(&context, {});
  grpc::health::v1::HealthCheckResponse state;
  ASSERT_TRUE(watch->Read(&state));
  server->Signal(SIGTERM);
  ASSERT_TRUE(watch->Read(&state));
  EXPECT_EQ(state.status(), grpc::health::v1::HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(server->Wait(std::chrono::seconds(20)), 0);
}

}  // namespace
}  // namespace ebb::tests
