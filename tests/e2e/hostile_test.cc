// Requests and clients that mean no good, on the real server: each gets its status or loses its
// connection, nobody else's tokens change, and every request that was accepted ends once.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "tests/e2e/canaries.h"
#include "tests/e2e/hostile_cases.h"
#include "tests/e2e/ledger.h"
#include "tests/e2e/log_schema.h"
#include "tests/server/http2_client.h"
#include "tests/server/wait_until.h"

namespace ebb::tests {
namespace {

int HttpStatusFor(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk:
      return 200;
    case absl::StatusCode::kInvalidArgument:
      return 400;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kUnimplemented:
      return 501;
    default:
      ADD_FAILURE() << "no case wants " << code;
      return 0;
  }
}

class HostileTest : public testing::Test {
 protected:
  void Start(const std::vector<std::string>& sets = {}) {
    server_ = ServerProcess::StartReady(sets);
    ASSERT_NE(server_, nullptr);
    client_ = std::make_unique<Client>(server_->address());
  }

  // Ends the server and compares its log with what the clients saw.
  void End() {
    EXPECT_TRUE(WaitUntil([&] { return client_->Memory().needed_bytes() == 0; }));
    server_->Signal(SIGTERM);
    EXPECT_EQ(server_->Wait(), 0) << server_->errors();
    EXPECT_EQ(server_->errors(), "");
    ledger_.ExpectBalanced(*server_);
    ExpectLogFitsSchema(*server_);
  }

  void SendOverHttp(const HostileCase& hostile) {
    const std::string id = "http-" + std::to_string(next_id_++);
    HttpClient client(server_->http_address());
    const HttpAnswer answer =
        client.Post(hostile.path, hostile.body, "X-Request-Id: " + id + "\r\n");
    EXPECT_EQ(answer.status, HttpStatusFor(hostile.code))
        << hostile.name << ": " << answer.body.substr(0, 300);
    EXPECT_LT(answer.body.size(), 2000u) << hostile.name;
    ledger_.Record(id, answer);
  }

  void SendOverGrpc(const HostileCase& hostile) {
    v1::GenerateRequest request = Greedy("hi", 4);
    const std::string id = "grpc-" + std::to_string(next_id_++);
    request.set_request_id(id);
    ASSERT_TRUE(google::protobuf::TextFormat::MergeFromString(hostile.grpc, &request))
        << hostile.name;
    v1::GenerateResponse response;
    const grpc::Status status = client_->Generate(request, &response);
    EXPECT_EQ(static_cast<absl::StatusCode>(status.error_code()), hostile.code)
        << hostile.name << ": " << status.error_message().substr(0, 300);
    EXPECT_LT(status.error_message().size(), 2000u) << hostile.name;
    ledger_.Record(request.request_id(), status);
  }

  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<Client> client_;
  Ledger ledger_;
  int next_id_ = 0;
};

TEST_F(HostileTest, EveryBadRequestGetsItsStatusBesideCanaries) {
  Start();
  v1::GetModelInfoResponse model;
  grpc::ClientContext context;
  ASSERT_TRUE(client_->control().GetModelInfo(&context, {}, &model).ok());
  const auto cases = HostileCases(model.vocabulary_tokens(), model.context_tokens());
  EXPECT_GT(cases.size(), 150u);
  BesideCanaries(*server_, &ledger_, [&] {
    for (const HostileCase& hostile : cases) {
      if (!hostile.path.empty()) SendOverHttp(hostile);
      if (!hostile.grpc.empty()) SendOverGrpc(hostile);
    }
  });
  End();
}

// A socket that listens and tells whether anybody came.
class Trap {
 public:
  Trap() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_in at = {};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(at);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&at), size), 0);
    EXPECT_EQ(listen(fd_, 8), 0);
    EXPECT_EQ(getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size), 0);
    url_ = "http://127.0.0.1:" + std::to_string(ntohs(at.sin_port)) + "/x.png";
  }
  ~Trap() { close(fd_); }

  const std::string& url() const { return url_; }
  bool IsSprung() const { return accept(fd_, nullptr, nullptr) >= 0; }

 private:
  const int fd_;
  std::string url_;
};

TEST_F(HostileTest, NoUrlOfAClientIsOpened) {
  Start();
  const Trap trap;
  HttpClient client(server_->http_address());
  for (const char* part : {R"({"type":"image_url","image_url":{"url":"URL"}})",
                           R"({"type":"file","file":{"file_url":"URL"}})",
                           R"({"type":"input_audio","input_audio":{"data":"URL"}})"}) {
    std::string body = std::string(R"({"messages":[{"role":"user","content":[)") + part + "]}]}";
    body.replace(body.find("URL"), 3, trap.url());
    EXPECT_EQ(client.Post("/v1/chat/completions", body).status, 501) << body;
  }
  for (const std::string& name : {trap.url(), std::string("file:///etc/passwd")}) {
    EXPECT_EQ(client.Post("/v1/completions", R"({"prompt":"a","model":")" + name + "\"}").status,
              404);
  }
  EXPECT_FALSE(trap.IsSprung());
}

// A word in every place where a client can put one: it is in no line of the log.
TEST_F(HostileTest, NoWordOfAClientIsInTheLog) {
  Start();
  const std::string word = "MarigoldSecret";
  HttpClient client(server_->http_address());
  // A refusal's message is what its line of the log says, if it has one: one a second has.
  const auto expect_refusal_without_it = [&](const HttpAnswer& answer) {
    EXPECT_NE(answer.status, 0);
    if (answer.status != 200) {
      EXPECT_EQ(answer.body.find(word), std::string::npos) << answer.body;
    }
  };
  const std::string header =
      "X-Note: " + word + "\r\nAuthorization: Bearer " + word + "\r\nUser-Agent: " + word + "\r\n";
  for (const std::string field :
       {R"("max_tokens":2)", R"("max_tokens":2,"stop":"W")", R"("max_tokens":2,"bad_words":["W"])",
        R"("max_tokens":2,"user":"W")", R"("model":"W")", R"("max_tokens":"W")",
        R"("stop":{"W":1})", R"("logit_bias":{"W":1})", R"("W":1,"max_tokens":-1)",
        R"("stop":["W",""])", R"("guided_regex":"W")"}) {
    std::string body = R"({"prompt":"W and","return_token_ids":true,)" + field + "}";
    for (size_t at; (at = body.find('W')) != std::string::npos;) body.replace(at, 1, word);
    expect_refusal_without_it(client.Post("/v1/completions", body, header));
  }
  for (const std::string body :
       {R"([{"role":"user","content":"W"}])", R"([{"role":"W","content":"a"}])",
        R"([{"role":"user","content":[{"type":"W"}]}])"}) {
    std::string text = R"({"max_tokens":2,"messages":)" + body + "}";
    text.replace(text.find('W'), 1, word);
    expect_refusal_without_it(client.Post("/v1/chat/completions", text, header));
  }
  EXPECT_EQ(HttpClient(server_->http_address()).Get("/" + word + "?" + word).status, 404);
  EXPECT_EQ(client.Post("/tokenize", R"({"prompt":")" + word + "\"}").status, 200);
  v1::GenerateRequest request = Greedy(word, 2);
  v1::GenerateResponse response;
  EXPECT_TRUE(client_->Generate(request, &response).ok());
  for (const auto& change : std::vector<std::function<void(v1::GenerateRequest*)>>{
           [&](auto* r) { r->set_model(word); }, [&](auto* r) { r->set_request_id(word + "\n"); },
           [&](auto* r) { r->mutable_stopping()->add_stop(word + std::string(300, 'x')); },
           [&](auto* r) { r->mutable_chat()->add_messages()->set_role(word); },
           [&](auto* r) { r->mutable_chat()->set_tools_json("{" + word); },
           [&](auto* r) { r->mutable_chat()->set_template_variables_json("{" + word); }}) {
    v1::GenerateRequest bad = request;
    change(&bad);
    const grpc::Status status = client_->Generate(bad, &response);
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(status.error_message().find(word), std::string::npos) << status.error_message();
  }
  // A header that the gRPC library cannot read, which it would complain of on standard error.
  Http2Client frames(server_->address());
  ASSERT_TRUE(frames.SendCall(1, "/ebb.v1.Inference/Generate", {{"grpc-timeout", word}}));
  frames.SendMessage(1, request.SerializeAsString(), true);
  EXPECT_EQ(frames.Read().status, grpc::StatusCode::OK);
  server_->Signal(SIGTERM);
  EXPECT_EQ(server_->Wait(), 0);
  EXPECT_FALSE(server_->Lines("request_refused").empty());
  EXPECT_EQ(server_->output().find(word), std::string::npos) << server_->output();
  EXPECT_EQ(server_->errors(), "");
  EXPECT_EQ(server_->other_line_count(), 0);
}

// The client's connection is reset, at every point of a request's life.
TEST_F(HostileTest, AResetConnectionCostsNothingWhereverItComes) {
  Start({"scheduler.running_sequences_max=2", "memory.idle_ms=300", "prefix_cache.idle_ms=300"});
  const std::string long_prompt(6000, 'a');
  const auto post = [](const std::string& id, const std::string& prompt, bool stream, int n) {
    const nlohmann::json body = {{"prompt", prompt},   {"max_tokens", 1500}, {"temperature", 0},
                                 {"ignore_eos", true}, {"stream", stream},   {"n", n}};
    return HttpClient::PostText("/v1/completions", body.dump(), "X-Request-Id: " + id + "\r\n");
  };
  const auto running = [&](int64_t count) {
    return WaitUntil([&] { return client_->Info().running_requests() == count; });
  };
  const auto leave = [&](const std::string& id, const std::string& bytes, bool sent_whole,
                         const std::function<void(HttpClient*)>& before = nullptr) {
    HttpClient leaver(server_->http_address());
    ASSERT_TRUE(leaver.Send(bytes)) << id;
    if (before) before(&leaver);
    leaver.Reset();
    if (sent_whole) ledger_.Record(id, Ledger::Seen::kLeft, absl::StatusCode::kCancelled);
  };
  BesideCanaries(*server_, &ledger_, [&] {
    for (int round = 0; round < 3; ++round) {
      for (const bool stream : {false, true}) {
        const std::string id = std::to_string(round) + (stream ? "-stream" : "-whole");
        const std::string text = post("never-" + id, "Once", stream, 1);
        leave("head-" + id, text.substr(0, 30), false);
        leave("body-" + id, text.substr(0, text.size() - 5), false);
        leave("sent-" + id, post("sent-" + id, "Once", stream, 1), true);
        leave("prefill-" + id, post("prefill-" + id, long_prompt, stream, 1), true,
              [&](HttpClient*) { running(2); });
        leave("many-" + id, post("many-" + id, "Once", stream, 2), true);
      }
      const std::string id = "decode-" + std::to_string(round);
      leave(id, post(id, "Once", true, 1), true,
            [](HttpClient* leaver) { EXPECT_NE(leaver->ReadUntil("data: "), ""); });
      v1::GenerateRequest request = Greedy("Once", 1500);
      request.set_request_id("grpc-" + std::to_string(round));
      const Streamed streamed =
          Client(server_->address()).Stream(request, [](const Streamed& so_far) {
            return so_far.token_ids.size() < 3;
          });
      ledger_.Record(request.request_id(), streamed);
    }
    // Between the last token and the end.
    const nlohmann::json body = {
        {"prompt", "Once"}, {"max_tokens", 4}, {"stream", true}, {"ignore_eos", true}};
    leave("end", HttpClient::PostText("/v1/completions", body.dump(), "X-Request-Id: end\r\n"),
          true, [](HttpClient* leaver) {
            EXPECT_NE(leaver->ReadUntil("\"finish_reason\":\"length\""), "");
          });
  });
  EXPECT_TRUE(WaitUntil([&] { return client_->Memory().pages_mapped() == 0; }));
  End();
  // 1500 were asked for: no answer went on for long without its reader.
  for (const nlohmann::json& line : server_->Lines("request_finished")) {
    if (line["status"] == "OK") continue;
    EXPECT_LT(line["completion_tokens"].get<int>(), 600) << line;
  }
}

// Many times what fits, all at once, from both sides: what is accepted is answered, the rest is
// told when to come again, and the server is then as before.
TEST_F(HostileTest, ABurstIsAnsweredOrToldToComeAgain) {
  Start({"scheduler.queue_requests_max=8", "scheduler.running_sequences_max=4"});
  constexpr int kEach = 60;
  std::atomic<int> answered_count = 0;
  std::atomic<int> refused_count = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kEach; ++i) {
    threads.emplace_back([&, i] {
      v1::GenerateRequest request = Greedy("Once upon a time", 12);
      request.set_request_id("grpc-" + std::to_string(i));
      const Streamed streamed = Client(server_->address()).Stream(request);
      ledger_.Record(request.request_id(), streamed);
      if (streamed.status.ok()) {
        ++answered_count;
      } else {
        EXPECT_EQ(streamed.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
        ++refused_count;
      }
    });
    threads.emplace_back([&, i] {
      const std::string id = "http-" + std::to_string(i);
      HttpClient client(server_->http_address());
      const HttpAnswer answer =
          client.Post("/v1/completions", R"({"prompt":"Once upon a time","max_tokens":12})",
                      "X-Request-Id: " + id + "\r\n");
      ledger_.Record(id, answer);
      if (answer.status == 200) {
        ++answered_count;
      } else {
        EXPECT_EQ(answer.status, 429) << answer.body;
        EXPECT_GE(std::atoi(answer.Header("retry-after").c_str()), 1);
        ++refused_count;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(answered_count + refused_count, 2 * kEach);
  EXPECT_GE(answered_count, 12);
  EXPECT_GE(refused_count, 1);
  BesideCanaries(*server_, &ledger_, [] {});
  End();
}

// As fast as they are answered, which is more than a hundred a second.
TEST_F(HostileTest, ScrapesWithoutAPauseDisturbNobody) {
  Start();
  HttpClient scraper(server_->http_address());
  BesideCanaries(*server_, &ledger_, [&] {
    for (int i = 0; i < 500; ++i) {
      const HttpAnswer metrics = scraper.Get("/metrics");
      ASSERT_EQ(metrics.status, 200) << i;
      ASSERT_NE(metrics.body.find("ebb_requests_accepted_total"), std::string::npos);
    }
  });
  End();
}

int64_t ResidentBytes(pid_t pid) {
  int64_t pages = 0;
  std::ifstream("/proc/" + std::to_string(pid) + "/statm") >> pages >> pages;
  return pages * sysconf(_SC_PAGESIZE);
}

// As many as the server takes, and a canary beside them.
TEST_F(HostileTest, IdleConnectionsCostLittle) {
  Start();
  constexpr int kHttp = 900;
  constexpr int kGrpc = 300;
  BesideCanaries(*server_, nullptr, [] {});
  const int64_t before = ResidentBytes(server_->pid());
  std::vector<std::unique_ptr<HttpClient>> http;
  for (int i = 0; i < kHttp; ++i) {
    http.push_back(std::make_unique<HttpClient>(server_->http_address()));
    ASSERT_EQ(http.back()->Get("/health/live").status, 200) << i;
  }
  EXPECT_LT((ResidentBytes(server_->pid()) - before) / kHttp, 64 << 10);
  std::vector<std::unique_ptr<Http2Client>> grpc;
  for (int i = 0; i < kGrpc; ++i) {
    grpc.push_back(std::make_unique<Http2Client>(server_->address()));
    ASSERT_TRUE(grpc.back()->SendFrame(Http2Client::kPing, 0, 0, std::string(8, 'p')));
  }
  BesideCanaries(*server_, nullptr, [] {});
  EXPECT_LT((ResidentBytes(server_->pid()) - before) / (kHttp + kGrpc), 128 << 10);
}

}  // namespace
}  // namespace ebb::tests
