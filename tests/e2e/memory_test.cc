// Memory follows the work: none when idle, more under load, never above the limit, and the limit
// moves while requests run.
#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/e2e/client.h"
#include "tests/e2e/server_process.h"
#include "tests/server/wait_until.h"

namespace ebb::tests {
namespace {

v1::SetMemoryLimitResponse SetLimit(Client* client, int64_t bytes) {
  grpc::ClientContext context;
  v1::SetMemoryLimitRequest request;
  request.set_limit_bytes(bytes);
  v1::SetMemoryLimitResponse response;
  const grpc::Status status = client->control().SetMemoryLimit(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response;
}

TEST(MemoryTest, GrowsWithWorkAndIsGoneWhenIdle) {
  const auto server = ServerProcess::StartReady({"memory.idle_ms=300", "prefix_cache.idle_ms=100"});
  ASSERT_NE(server, nullptr);
  Client client(server->address());
  EXPECT_EQ(client.Memory().pages_mapped(), 0);
  for (int round = 0; round < 2; ++round) {
    int64_t pages_seen = 0;
    int64_t needed_seen = 0;
    const Streamed streamed = client.Stream(Greedy("Once upon a time", 64), [&](const Streamed&) {
      const v1::GetMemoryResponse memory = client.Memory();
      pages_seen = std::max(pages_seen, memory.pages_mapped());
      needed_seen = std::max(needed_seen, memory.needed_bytes());
      EXPECT_LE(memory.held_bytes(), memory.limit_bytes());
      return true;
    });
    ASSERT_TRUE(streamed.status.ok());
    EXPECT_GT(pages_seen, 0);
    EXPECT_GT(needed_seen, 0);
    EXPECT_TRUE(WaitUntil([&] { return client.Memory().pages_mapped() == 0; }));
    EXPECT_EQ(client.Memory().needed_bytes(), 0);
  }
}

TEST(MemoryTest, KeptPagesAreThereBeforeTheFirstRequestAndAfterTheLast) {
  // On the ledger too, where a server gets no memory that it does not say it wants.
  const auto server = ServerProcess::StartReady(
      {"memory.idle_ms=100", "prefix_cache.idle_ms=100", "memory.shrink_after_ms=0",
       "memory.keep_bytes=67108864", "sharing.path=" + testing::TempDir()});
  ASSERT_NE(server, nullptr);
  Client client(server->address());
  constexpr int64_t kKeptPages = 10;  // Of 6 MiB: whole pages only.
  EXPECT_TRUE(WaitUntil([&] { return client.Memory().pages_mapped() == kKeptPages; }));
  const int64_t kept_bytes = client.Memory().held_bytes();
  EXPECT_EQ(kept_bytes, kKeptPages * (6 << 20));
  v1::GenerateResponse response;
  ASSERT_TRUE(client.Generate(Greedy("Once upon a time", 64), &response).ok());
  EXPECT_TRUE(WaitUntil([&] { return client.Memory().held_bytes() == kept_bytes; }));
  EXPECT_EQ(client.Memory().pages_mapped(), kKeptPages);
  SetLimit(&client, 1 << 20);
  EXPECT_TRUE(WaitUntil([&] { return client.Memory().pages_mapped() == 0; }));
}

TEST(MemoryTest, TheLimitMovesWhileRequestsRunAndTheTokensStay) {
  const auto server = ServerProcess::StartReady({"memory.idle_ms=300", "prefix_cache.idle_ms=100"});
  ASSERT_NE(server, nullptr);
  Client client(server->address());
  const std::string prompt = "A long story about the sea. ";
  const std::vector<int32_t> alone = client.Stream(Greedy(prompt, 200)).token_ids;
  ASSERT_EQ(alone.size(), 200u);
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  std::atomic<int> deltas = 0;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const Streamed streamed =
          Client(server->address()).Stream(Greedy(prompt, 200), [&](const Streamed&) {
            ++deltas;
            return true;
          });
      if (streamed.status.ok() && streamed.token_ids == alone) ++right;
    });
  }
  EXPECT_TRUE(WaitUntil([&] { return deltas > 8 * 10; }));
  const int64_t held = client.Memory().held_bytes();
  EXPECT_GT(held, 0);
  const v1::SetMemoryLimitResponse lowered = SetLimit(&client, 96 << 20);
  EXPECT_EQ(lowered.limit_bytes(), 96 << 20);
  if (lowered.outcome() == v1::SetMemoryLimitResponse::OUTCOME_APPLIED) {
    EXPECT_LE(lowered.held_bytes(), 96 << 20);
  } else {
    EXPECT_EQ(lowered.deferred_bytes(), lowered.held_bytes() - lowered.limit_bytes());
    EXPECT_GT(lowered.deferred_bytes(), 0);
  }
  EXPECT_TRUE(WaitUntil([&] { return client.Memory().held_bytes() <= 96 << 20; }));
  EXPECT_EQ(SetLimit(&client, 512 << 20).outcome(), v1::SetMemoryLimitResponse::OUTCOME_APPLIED);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 8);
  EXPECT_EQ(client.Memory().limit_bytes(), 512 << 20);
  EXPECT_TRUE(WaitUntil([&] { return client.Memory().pages_mapped() == 0; }));
}

TEST(MemoryTest, LimitsOutOfRangeAreRefused) {
  const auto server = ServerProcess::StartReady();
  ASSERT_NE(server, nullptr);
  Client client(server->address());
  for (const int64_t bytes : {int64_t{-1}, int64_t{1} << 50}) {
    grpc::ClientContext context;
    v1::SetMemoryLimitRequest request;
    request.set_limit_bytes(bytes);
    v1::SetMemoryLimitResponse response;
    EXPECT_EQ(client.control().SetMemoryLimit(&context, request, &response).error_code(),
              grpc::StatusCode::INVALID_ARGUMENT);
  }
  EXPECT_EQ(client.Memory().limit_bytes(), int64_t{1} << 30);
}

TEST(MemoryTest, ARequestThatCanNeverFitIsRefusedAtOnce) {
  const auto server = ServerProcess::StartReady({"memory.limit_bytes=134217728"});
  ASSERT_NE(server, nullptr);
  Client client(server->address());
  v1::GenerateResponse response;
  const grpc::Status status = client.Generate(Greedy("Once upon a time", 8000), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  EXPECT_TRUE(client.Generate(Greedy("Once upon a time", 20), &response).ok());
}

}  // namespace
}  // namespace ebb::tests
