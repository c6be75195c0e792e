#include "tests/e2e/canaries.h"

#include <atomic>
#include <string>
#include <thread>

#include "gtest/gtest.h"

namespace ebb::tests {
namespace {

constexpr int kTokens = 48;
constexpr char kPrompt[] = "The history of the lighthouse";

Streamed OverGrpc(const ServerProcess& server, const std::string& id, Ledger* ledger) {
  v1::GenerateRequest request = Greedy(kPrompt, kTokens);
  request.set_request_id(id);
  Streamed streamed = Client(server.address()).Stream(request);
  EXPECT_TRUE(streamed.status.ok()) << streamed.status.error_message();
  if (ledger != nullptr) ledger->Record(id, streamed);
  return streamed;
}

std::string OverHttp(const ServerProcess& server, const std::string& id, Ledger* ledger) {
  HttpClient client(server.http_address());
  const nlohmann::json body = {{"prompt", kPrompt},
                               {"max_tokens", kTokens},
                               {"temperature", 0},
                               {"ignore_eos", true},
                               {"stream", true}};
  const HttpAnswer answer =
      client.Post("/v1/completions", body.dump(), "X-Request-Id: " + id + "\r\n");
  EXPECT_EQ(answer.status, 200) << answer.body;
  if (ledger != nullptr) ledger->Record(id, answer);
  std::string text;
  for (const std::string& event : answer.Events()) {
    const nlohmann::json json = nlohmann::json::parse(event, nullptr, false);
    if (json.is_object()) text += json["choices"][0].value("text", "");
  }
  return text;
}

}  // namespace

void BesideCanaries(const ServerProcess& server, Ledger* ledger,
                    const std::function<void()>& storm) {
  const Streamed alone = OverGrpc(server, "canary-alone", ledger);
  ASSERT_EQ(alone.token_ids.size(), size_t{kTokens});
  std::atomic<bool> over = false;
  std::atomic<int> heard_count = 0;
  std::thread grpc_singer([&] {
    for (int i = 0; i == 0 || !over; ++i) {
      const Streamed beside = OverGrpc(server, "canary-grpc-" + std::to_string(i), ledger);
      EXPECT_EQ(beside.token_ids, alone.token_ids);
      EXPECT_EQ(beside.text, alone.text);
      ++heard_count;
    }
  });
  std::thread http_singer([&] {
    for (int i = 0; i == 0 || !over; ++i) {
      EXPECT_EQ(OverHttp(server, "canary-http-" + std::to_string(i), ledger), alone.text);
      ++heard_count;
    }
  });
  storm();
  over = true;
  grpc_singer.join();
  http_singer.join();
  EXPECT_GE(heard_count, 2);
}

}  // namespace ebb::tests
