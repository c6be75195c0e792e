// Several tenants on one real server: the light one does not wait behind the heavy one's queue,
// quotas hold whichever way a request comes, and operators are not users.
#include <sys/stat.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "tests/e2e/client.h"
#include "tests/e2e/log_schema.h"
#include "tests/e2e/server_process.h"
#include "tests/server/http/http_client.h"
#include "tests/server/wait_until.h"

namespace ebb::tests {
namespace {

std::string TokenOf(const std::string& name) { return name + "-token-0123456789"; }

// A file of tokens for these names.
std::string TokensFile(const std::string& file, const std::vector<std::string>& names) {
  const std::string path = absl::StrCat(testing::TempDir(), "/", file);
  std::ofstream out(path);
  for (const std::string& name : names) out << name << " " << TokenOf(name) << "\n";
  out.close();
  EXPECT_EQ(chmod(path.c_str(), 0600), 0);
  return path;
}

void Bring(const std::string& name, grpc::ClientContext* context) {
  context->AddMetadata("authorization", "Bearer " + TokenOf(name));
}

class TenantsTest : public testing::Test {
 protected:
  // One request runs at a time, and not too fast for a test to do something meanwhile.
  void Start(const std::vector<std::string>& more_sets = {}) {
    std::vector<std::string> sets = {
        "security.tokens_file=" + TokensFile("users", {"heavy", "light", "first"}),
        "security.control_tokens_file=" + TokensFile("operators", {"olga"}),
        "kernels.path=reference", "kernels.threads=1", "scheduler.running_sequences_max=1"};
    sets.insert(sets.end(), more_sets.begin(), more_sets.end());
    std::vector<std::string> arguments = {"--config",          "configs/cpu.json", "--model",
                                          "random:tiny-llama", "--listen",         "127.0.0.1:0"};
    for (const std::string& set : sets) {
      arguments.push_back("--set");
      arguments.push_back(set);
    }
    server_ = std::make_unique<ServerProcess>(arguments);
    ASSERT_FALSE(server_->WaitForEvent("ready").is_null()) << server_->errors();
    client_ = std::make_unique<Client>(server_->address());
  }

  int64_t WaitingRequests() const {
    grpc::ClientContext context;
    Bring("olga", &context);
    v1::GetServerInfoResponse info;
    const grpc::Status status = client_->control().GetServerInfo(&context, {}, &info);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return info.waiting_requests();
  }

  Streamed Stream(const std::string& tenant, const std::string& id, int64_t tokens,
                  const std::function<bool(const Streamed&)>& on_delta = nullptr) const {
    v1::GenerateRequest request = Greedy("Once upon a time", tokens);
    request.set_request_id(id);
    grpc::ClientContext context;
    Bring(tenant, &context);
    return client_->Stream(request, on_delta, &context);
  }

  HttpAnswer Complete(const std::string& tenant, const std::string& id, int64_t tokens) const {
    const std::string body = absl::StrCat(R"({"prompt":"Once upon a time","temperature":0,)",
                                          R"("ignore_eos":true,"max_tokens":)", tokens, "}");
    return HttpClient(server_->http_address())
        .Post("/v1/completions", body,
              absl::StrCat("Authorization: Bearer ", TokenOf(tenant), "\r\nX-Request-Id: ", id,
                           "\r\n"));
  }

  // The ids of requests that have ended, in that order.
  std::vector<std::string> EndedIds() const {
    std::vector<std::string> ids;
    for (const nlohmann::json& line : server_->Lines("request_finished")) {
      ids.push_back(line["label"].get<std::string>());
    }
    return ids;
  }

  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<Client> client_;
};

// All are queued behind a request of a third tenant's, which then goes, so that the order of the
// answers is the server's choice and not that of their coming.
TEST_F(TenantsTest, AHeavyQueueDoesNotHoldUpALightTenant) {
  constexpr int kHeavy = 12;
  constexpr int kLight = 4;
  constexpr int64_t kTokens = 200;
  Start();
  std::atomic<bool> running = false;
  std::atomic<bool> let_go = false;
  std::vector<std::thread> clients;
  clients.emplace_back([&] {
    Stream("first", "first", 4000, [&](const Streamed& so_far) {
      if (so_far.token_ids.size() > 16) running = true;  // The server knows how long tokens take.
      return !let_go;
    });
  });
  EXPECT_TRUE(WaitUntil([&] { return running.load(); }));
  std::atomic<int> answered = 0;
  for (int i = 0; i < kHeavy; ++i) {
    clients.emplace_back([&, i] {
      const Streamed streamed = Stream("heavy", absl::StrCat("heavy-", i), kTokens);
      EXPECT_TRUE(streamed.status.ok()) << i << ": " << streamed.status.error_message();
      if (streamed.token_ids.size() == kTokens) ++answered;
    });
  }
  EXPECT_TRUE(WaitUntil([&] { return WaitingRequests() == kHeavy; }));
  for (int i = 0; i < kLight; ++i) {
    clients.emplace_back([&, i] {
      const HttpAnswer answer = Complete("light", absl::StrCat("light-", i), kTokens);
      EXPECT_EQ(answer.status, 200) << i << ": " << answer.body;
      if (answer.status == 200) ++answered;
    });
  }
  EXPECT_TRUE(WaitUntil([&] { return WaitingRequests() == kHeavy + kLight; }));
  EXPECT_TRUE(EndedIds().empty()) << "nothing was to be answered until all were queued";
  let_go = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(answered, kHeavy + kLight) << "the heavy one's are answered too";

  // Places were given while three tenants had requests to the light one, and two to the heavy one:
  // for two of the light one's come three of the heavy one's. Three more are for the time between.
  EXPECT_TRUE(
      WaitUntil([&] { return server_->Lines("request_finished").size() == kHeavy + kLight + 1; }));
  const std::vector<std::string> ids = EndedIds();
  int heavy_count = 0;
  int light_count = 0;
  for (const std::string& id : ids) {
    if (absl::StartsWith(id, "heavy")) ++heavy_count;
    if (!absl::StartsWith(id, "light")) continue;
    EXPECT_LE(heavy_count, light_count * 3 / 2 + 3) << id << " of " << absl::StrJoin(ids, " ");
    ++light_count;
  }
  ExpectLogFitsSchema(*server_);
}

TEST_F(TenantsTest, AQuotaHoldsWhicheverWayARequestComes) {
  Start({"quotas.requests_per_minute=2"});
  EXPECT_TRUE(Stream("heavy", "a", 2).status.ok());
  EXPECT_EQ(Complete("heavy", "b", 2).status, 200);
  EXPECT_EQ(Stream("heavy", "c", 2).status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  const HttpAnswer refused = Complete("heavy", "d", 2);
  EXPECT_EQ(refused.status, 429) << refused.body;
  int64_t seconds = 0;
  EXPECT_TRUE(absl::SimpleAtoi(refused.Header("retry-after"), &seconds)) << refused.body;
  EXPECT_GE(seconds, 1);
  EXPECT_LE(seconds, 30);
  EXPECT_EQ(Complete("light", "e", 2).status, 200);
  HttpClient scraper(server_->http_address());
  ASSERT_TRUE(scraper.Send(
      absl::StrCat("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ",
                   TokenOf("light"), "\r\n\r\n")));
  EXPECT_TRUE(absl::StrContains(scraper.Read().body,
                                "ebb_requests_over_quota_total{quota=\"requests\"} 2\n"));
  ExpectLogFitsSchema(*server_);
}

TEST_F(TenantsTest, OperatorsAreNotUsers) {
  Start({"server.control_listen=127.0.0.1:0"});
  const nlohmann::json ready = server_->Lines("ready").at(0);
  const auto drain = [&](const std::string& address, const std::string& name) {
    grpc::ClientContext context;
    Bring(name, &context);
    v1::DrainResponse response;
    return Client(ready.at(address).get<std::string>())
        .control()
        .Drain(&context, {}, &response)
        .error_code();
  };
  EXPECT_EQ(Stream("olga", "a", 2).status.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(Complete("olga", "b", 2).status, 401);
  EXPECT_EQ(drain("address", "olga"), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(drain("control_address", "light"), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(drain("control_address", "nobody"), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(Complete("light", "c", 2).status, 200);
  EXPECT_EQ(drain("control_address", "olga"), grpc::StatusCode::OK);
  EXPECT_EQ(server_->Wait(), 0);
  ExpectLogFitsSchema(*server_);
}

}  // namespace
}  // namespace ebb::tests
