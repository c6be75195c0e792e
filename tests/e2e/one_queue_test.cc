// scheduler.queues=one on the real server: the same answers as with separate queues, under load and
// a limit that moves, and all memory back.
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

TEST(OneQueueTest, AnswersAreThoseOfSeparateQueuesWhileALimitMoves) {
  std::vector<v1::GenerateRequest> requests;
  for (int i = 0; i < 8; ++i) {
    std::string prompt;
    for (int n = 0; n < 4 + 10 * i; ++n) prompt += "the sea and ";
    requests.push_back(Greedy(prompt, 32 + 4 * i));
  }
  std::vector<std::vector<int32_t>> separate;
  {
    const auto server = ServerProcess::StartReady();
    ASSERT_NE(server, nullptr);
    Client client(server->address());
    for (const v1::GenerateRequest& request : requests) {
      separate.push_back(client.Stream(request).token_ids);
      ASSERT_FALSE(separate.back().empty());
    }
  }
  const auto server = ServerProcess::StartReady(
      {"scheduler.queues=one", "memory.idle_ms=300", "prefix_cache.idle_ms=100",
       "scheduler.chunk_tokens_max=96", "decode_window.steps=8"});
  ASSERT_NE(server, nullptr);
  std::atomic<int> right = 0;
  std::vector<std::thread> threads;
  for (size_t i = 0; i < requests.size(); ++i) {
    threads.emplace_back([&, i] {
      const Streamed streamed = Client(server->address()).Stream(requests[i]);
      if (streamed.status.ok() && streamed.token_ids == separate[i]) ++right;
    });
  }
  Client client(server->address());
  EXPECT_TRUE(WaitUntil([&] { return client.Info().running_requests() >= 4; }));
  for (const int64_t limit_bytes : {int64_t{64} << 20, int64_t{1} << 30}) {
    grpc::ClientContext context;
    v1::SetMemoryLimitRequest request;
    request.set_limit_bytes(limit_bytes);
    v1::SetMemoryLimitResponse response;
    const grpc::Status status = client.control().SetMemoryLimit(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, static_cast<int>(requests.size()));
  EXPECT_TRUE(WaitUntil([&] { return client.Memory().pages_mapped() == 0; }));
  EXPECT_EQ(client.Memory().needed_bytes(), 0);
  const std::vector<nlohmann::json> windows = server->Lines("window");
  ASSERT_FALSE(windows.empty());
  for (const nlohmann::json& line : windows) EXPECT_EQ(line["queue"], "one") << line;
}

}  // namespace
}  // namespace ebb::tests
