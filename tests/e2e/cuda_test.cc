// The real server on a CUDA device: the fake one, which runs the real kernels on the host.
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/e2e/client.h"
#include "tests/e2e/log_schema.h"
#include "tests/e2e/server_process.h"
#include "tests/server/wait_until.h"

namespace ebb::tests {
namespace {

using Strings = std::vector<std::string>;

Strings Arguments(const Strings& sets) {
  Strings arguments = {"--config",          "configs/cuda.json", "--model",
                       "random:tiny-llama", "--listen",          "127.0.0.1:0"};
  Strings all = {"cuda.library=kernels/cuda/libebb_cuda_fake.so", "memory.headroom_bytes=0",
                 "scheduler.running_sequences_max=8", "scheduler.chunk_tokens_max=64"};
  all.insert(all.end(), sets.begin(), sets.end());
  for (const std::string& set : all) {
    arguments.push_back("--set");
    arguments.push_back(set);
  }
  return arguments;
}

std::unique_ptr<ServerProcess> StartReady(const Strings& sets, const Strings& variables = {}) {
  auto server = std::make_unique<ServerProcess>(Arguments(sets), variables);
  if (!server->WaitForEvent("ready").is_null()) return server;
  ADD_FAILURE() << "not ready:\n" << server->output() << server->errors();
  return nullptr;
}

v1::GenerateRequest RequestOf(int number) {
  std::string prompt;
  for (int i = 0; i <= 5 * number; ++i) prompt += static_cast<char>('a' + (i * 7 + number) % 26);
  v1::GenerateRequest request = Greedy(prompt, 10 + number);
  if (number % 2 == 1) {
    request.mutable_sampling()->set_temperature(1.0f);
    request.mutable_sampling()->set_seed(100 + number);
  }
  if (number % 3 == 1) {
    request.mutable_sampling()->set_repetition_penalty(1.3);
    request.mutable_sampling()->set_frequency_penalty(0.5);
    (*request.mutable_sampling()->mutable_logit_bias())[20 + number] = 1.5;
    request.mutable_sampling()->add_bad_words("a");
  }
  return request;
}

TEST(CudaTest, SaysWhatItFound) {
  const std::unique_ptr<ServerProcess> server = StartReady({});
  ASSERT_NE(server, nullptr);
  const std::vector<nlohmann::json> lines = server->Lines("device");
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0]["kind"], "cuda");
  EXPECT_EQ(lines[0]["name"], "Ebb fake device");
  EXPECT_EQ(lines[0]["compute"], "9.0");
}

TEST(CudaTest, WithoutAUsableDeviceTheCpuServesOrTheStartEndsWith70) {
  for (const char* missing : {"no_driver", "old_driver", "no_device"}) {
    const std::string find = std::string("EBB_FAKE_CUDA_FIND=") + missing;
    ServerProcess refused(Arguments({}), {find});
    EXPECT_EQ(refused.Wait(), 70) << missing;
    EXPECT_NE(refused.errors().find("ebb_server: "), std::string::npos) << missing;

    const std::unique_ptr<ServerProcess> server = StartReady({"device.kind=auto"}, {find});
    ASSERT_NE(server, nullptr);
    const std::vector<nlohmann::json> lines = server->Lines("device");
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_EQ(lines[0]["kind"], "cpu");
    EXPECT_NE(lines[0]["no_cuda"].get<std::string>(), "") << missing;
  }
}

TEST(CudaTest, SettingsThatTheDeviceCannotServeEndWith78) {
  for (const char* set : {"kv.dtype=f16", "requests.logprobs_max=33"}) {
    ServerProcess server(Arguments({"device.kind=auto", set}));
    EXPECT_EQ(server.Wait(), 78) << set;
    EXPECT_NE(server.errors().find("CUDA device"), std::string::npos) << server.errors();
  }
}

// Batches form as they like, and between two requests pages come and go under the graphs: each
// answer is what it is alone.
TEST(CudaTest, AnswersAreThoseOfEachRequestAlone) {
  constexpr int kRequests = 12;
  const std::unique_ptr<ServerProcess> server =
      StartReady({"cuda.batch_invariant=true", "memory.idle_ms=50", "prefix_cache.idle_ms=50",
                  "memory.slack_pages=0"});
  ASSERT_NE(server, nullptr);
  std::vector<std::vector<int32_t>> alone_ids;
  Client client(server->address());
  for (int i = 0; i < kRequests; ++i) {
    const Streamed streamed = client.Stream(RequestOf(i));
    ASSERT_TRUE(streamed.status.ok()) << streamed.status.error_message();
    EXPECT_EQ(streamed.token_ids.size(), static_cast<size_t>(10 + i));
    alone_ids.push_back(streamed.token_ids);
  }
  std::vector<Streamed> together(kRequests);
  std::vector<std::thread> threads;
  for (int i = 0; i < kRequests; ++i) {
    threads.emplace_back([&, i] { together[i] = Client(server->address()).Stream(RequestOf(i)); });
  }
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < kRequests; ++i) {
    EXPECT_TRUE(together[i].status.ok()) << together[i].status.error_message();
    EXPECT_EQ(together[i].finished_count, 1);
    EXPECT_EQ(together[i].token_ids, alone_ids[i]) << "request " << i;
  }
  EXPECT_TRUE(WaitUntil([&] { return client.Memory().held_bytes() == 0; }))
      << "memory is kept when idle";
  server->Signal(SIGTERM);
  EXPECT_EQ(server->Wait(), 0);
}

TEST(CudaTest, ALostDeviceEndsEveryRequestOnceAndTheServerWith70) {
  constexpr int kRequests = 6;
  const std::unique_ptr<ServerProcess> server =
      StartReady({}, {"EBB_FAKE_CUDA_LOSE_AT_LAUNCH=3000"});
  ASSERT_NE(server, nullptr);
  std::vector<Streamed> streamed(kRequests);
  std::vector<std::thread> threads;
  for (int i = 0; i < kRequests; ++i) {
    threads.emplace_back([&, i] {
      streamed[i] = Client(server->address()).Stream(Greedy("The device will go", 100000));
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Streamed& one : streamed) {
    EXPECT_EQ(one.status.error_code(), grpc::StatusCode::UNAVAILABLE) << one.status.error_message();
    EXPECT_EQ(one.finished_count, 0);
  }
  EXPECT_EQ(server->Wait(), 70);
  EXPECT_EQ(server->Lines("device_lost").size(), 1u);
  EXPECT_EQ(server->Lines("request_finished").size(), static_cast<size_t>(kRequests));
  ExpectLogFitsSchema(*server);
}

}  // namespace
}  // namespace ebb::tests
