// Connections: what a server must bear from clients that are slow, wrong, impatient or gone.
#include <string>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "tests/server/http/http_fixture.h"
#include "tests/server/test_seed.h"

namespace ebb::server {
namespace {

using tests::HttpAnswer;
using tests::HttpClient;
using tests::WaitUntil;

constexpr char kHi[] = R"({"prompt":"hi","max_tokens":100})";

TEST_F(HttpTest, AConnectionServesRequestAfterRequest) {
  const auto client = Connect();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(client->Get("/health/live").status, 200);
    const HttpAnswer answer = client->Post("/v1/completions", kHi);
    EXPECT_EQ(answer.status, 200) << answer.body;
    EXPECT_EQ(answer.Header("connection"), "keep-alive");
  }
  EXPECT_EQ(server_->connection_count(), 1u);
}

TEST_F(HttpTest, PipelinedRequestsAreAnsweredInOrder) {
  Answers("one");
  const auto client = Connect();
  ASSERT_TRUE(client->Send(HttpClient::PostText("/v1/completions", kHi) +
                           "GET /version HTTP/1.1\r\nHost: x\r\n\r\n" +
                           HttpClient::PostText("/tokenize", R"({"prompt":"abc"})") +
                           "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_EQ(client->Read().Json()["choices"][0]["text"], "one");
  EXPECT_EQ(client->Read().Json()["version"], "test");
  EXPECT_EQ(client->Read().Json()["count"], 3);
  EXPECT_EQ(client->Read().status, 404);
}

TEST_F(HttpTest, BytesMayComeOneByOne) {
  const std::string text =
      "POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
      "\r\n8\r\n{\"prompt\r\n6;x=y\r\n\":\"ab\"\r\n1\r\n}\r\n0\r\n\r\n";
  const auto client = Connect();
  for (const char c : text) ASSERT_TRUE(client->Send(std::string(1, c)));
  EXPECT_EQ(client->Read().Json()["tokens"].dump(), "[97,98]");
  EXPECT_EQ(client->Get("/health/live").status, 200);
}

TEST_F(HttpTest, MalformedRequestsEndTheConnection) {
  const struct {
    std::string text;
    int status;
  } cases[] = {
      {"nonsense\r\n\r\n", 400},
      {"GET /version HTTP/1.1\r\n\r\n", 400},  // No Host.
      {"GET /version HTTP/1.1\r\nHost : x\r\n\r\n", 400},
      {"GET version HTTP/1.1\r\nHost: x\r\n\r\n", 400},
      {"GET /version HTTP/3.0\r\nHost: x\r\n\r\n", 505},
      {"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400},
      {"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n", 400},
      {"POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
       "Transfer-Encoding: chunked\r\n\r\n",
       400},
      {"POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
      {"POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
      {"POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
      {"POST /tokenize HTTP/1.1\r\nHost: x\r\nExpect: a miracle\r\nContent-Length: 2\r\n\r\n", 417},
  };
  for (const auto& [text, status] : cases) {
    const auto client = Connect();
    ASSERT_TRUE(client->Send(text));
    const HttpAnswer answer = client->Read();
    EXPECT_EQ(answer.status, status) << text;
    EXPECT_FALSE(answer.Json()["error"]["message"].empty()) << text;
    EXPECT_EQ(answer.Header("connection"), "close");
    EXPECT_TRUE(client->ReadsEnd()) << text;
  }
  EXPECT_TRUE(engine_.requests().empty());
}

TEST_F(HttpTest, LongHeadersAre431) {
  const auto client = Connect();
  ASSERT_TRUE(client->Send("GET /version HTTP/1.1\r\nHost: x\r\nX: " +
                           std::string(options_.header_bytes_max, 'a')));
  EXPECT_EQ(client->Read().status, 431);
}

TEST_F(HttpTest, LongBodiesAre413BeforeTheyCome) {
  const auto told = Connect();
  ASSERT_TRUE(told->Send("POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n"));
  EXPECT_EQ(told->Read().status, 413);
  const auto chunked = Connect();
  chunked->Send(
      "POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n");
  EXPECT_EQ(chunked->Read().status, 413);
  // As long as may be.
  const std::string text(1048576 - 13, 'a');
  EXPECT_EQ(Post("/tokenize", "{\"prompt\":\"" + text + "\"}").Json()["count"], text.size());
}

TEST_F(HttpTest, AllBodiesTogetherAreBounded) {
  options_.bodies_bytes_max = 1000;
  const auto holder = Connect();
  ASSERT_TRUE(
      holder->Send("POST /tokenize HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                   "Content-Length: 1000\r\n\r\n"));
  EXPECT_NE(holder->ReadUntil("100 Continue\r\n\r\n"), "");
  ASSERT_TRUE(holder->Send(std::string(900, ' ')));
  EXPECT_TRUE(WaitUntil([&] { return server_->bodies_bytes() == 900; }));
  const std::string body = "{\"prompt\":\"" + std::string(200, 'a') + "\"}";
  EXPECT_EQ(Post("/tokenize", body).status, 503);
  holder->Close();
  EXPECT_TRUE(WaitUntil([&] { return Post("/tokenize", body).status == 200; }));
}

TEST_F(HttpTest, SlowHeadsAndBodiesAre408) {
  options_.header_timeout = absl::Milliseconds(50);
  options_.body_timeout = absl::Milliseconds(50);
  const auto head = Connect();
  ASSERT_TRUE(head->Send("GET /version HTTP/1.1\r\nHo"));
  EXPECT_EQ(head->Read().status, 408);
  EXPECT_TRUE(head->ReadsEnd());
  const auto body = Connect();
  ASSERT_TRUE(body->Send("POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{"));
  EXPECT_EQ(body->Read().status, 408);
}

TEST_F(HttpTest, IdleConnectionsEndWithoutAWord) {
  options_.idle_timeout = absl::Milliseconds(50);
  EXPECT_TRUE(Connect()->ReadsEnd());
  const auto used = Connect();
  EXPECT_EQ(used->Get("/version").status, 200);
  EXPECT_TRUE(used->ReadsEnd());
}

// The time that an answer takes is not idle time.
TEST_F(HttpTest, WaitingForAnAnswerIsNotIdle) {
  options_.idle_timeout = absl::Milliseconds(20);
  options_.header_timeout = absl::Milliseconds(20);
  options_.body_timeout = absl::Milliseconds(20);
  Answers("abc", Held(1));
  const auto client = Connect();
  ASSERT_TRUE(client->Send(HttpClient::PostText("/v1/completions", kHi)));
  const auto idle = Connect();
  EXPECT_TRUE(WaitUntil([&] { return engine_.requests().size() == 1; }));
  EXPECT_TRUE(idle->ReadsEnd());  // So long at least it waited.
  engine_.ReleaseHeld();
  EXPECT_EQ(client->Read().Json()["choices"][0]["text"], "abc");
}

TEST_F(HttpTest, TooManyConnectionsAreTold) {
  options_.connections_max = 2;
  const auto first = Connect();
  const auto second = Connect();
  EXPECT_EQ(first->Get("/version").status, 200);
  EXPECT_EQ(second->Get("/version").status, 200);
  EXPECT_EQ(Connect()->Read().status, 503);
  first->Close();
  EXPECT_TRUE(WaitUntil([&] { return Get("/version").status == 200; }));
}

TEST_F(HttpTest, ExpectContinueIsAnswered) {
  const auto client = Connect();
  ASSERT_TRUE(
      client->Send("POST /tokenize HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                   "Content-Length: 14\r\n\r\n"));
  EXPECT_EQ(client->Read().status, 100);
  ASSERT_TRUE(client->Send(R"({"prompt":"a"})"));
  EXPECT_EQ(client->Read().Json()["count"], 1);
  // What is refused by its head is not asked for.
  ASSERT_TRUE(
      client->Send("POST /nothing HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                   "Content-Length: 14\r\n\r\n"));
  EXPECT_EQ(client->Read().status, 404);
  EXPECT_TRUE(client->ReadsEnd());
}

TEST_F(HttpTest, AClientThatLeavesCancelsItsRequest) {
  for (const std::string stream : {"false", "true"}) {
    Answers("abc", Held(1));
    const int64_t before = engine_.cancel_count();
    const auto client = Connect();
    ASSERT_TRUE(client->Send(HttpClient::PostText(
        "/v1/completions", R"({"prompt":"hi","max_tokens":9,"stream":)" + stream + "}")));
    const size_t count = stream == "true" ? 2 : 1;
    EXPECT_TRUE(WaitUntil([&] { return engine_.requests().size() == count; }));
    if (stream == "true") {
      EXPECT_NE(client->ReadUntil("\n\n"), "");
    }
    client->Close();
    EXPECT_TRUE(WaitUntil([&] { return engine_.cancel_count() == before + 1; })) << stream;
  }
  EXPECT_TRUE(live_calls_.WaitUntilEmpty(absl::Seconds(30)));
  EXPECT_TRUE(WaitUntil([&] { return server_->connection_count() == 0; }));
}

// Also when it had sent something after its request.
TEST_F(HttpTest, AClientThatPipelinedAndLeftCancelsToo) {
  Answers("abc", Held(1));
  const auto client = Connect();
  ASSERT_TRUE(client->Send(HttpClient::PostText("/v1/completions", kHi) + "GET /version HT"));
  EXPECT_TRUE(WaitUntil([&] { return engine_.requests().size() == 1; }));
  client->Close();
  EXPECT_TRUE(WaitUntil([&] { return engine_.cancel_count() == 1; }));
}

// What a client sends beside its request is bounded, and is there when its turn comes.
TEST_F(HttpTest, AFloodBehindARequestWaits) {
  Answers("abc", Held(1));
  const auto client = Connect();
  ASSERT_TRUE(client->Send(HttpClient::PostText("/v1/completions", kHi)));
  EXPECT_TRUE(WaitUntil([&] { return engine_.requests().size() == 1; }));
  const std::string probe = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
  constexpr int kProbes = 3000;  // More than 64 KiB.
  std::string flood;
  for (int i = 0; i < kProbes; ++i) flood += probe;
  ASSERT_TRUE(client->Send(flood));
  engine_.ReleaseHeld();
  EXPECT_EQ(client->Read().Json()["choices"][0]["text"], "abc");
  for (int i = 0; i < kProbes; ++i) ASSERT_EQ(client->Read().status, 200) << i;
}

// Nothing of a slow reader's is in the engine.
TEST_F(HttpTest, ASlowReaderHoldsNobodyUp) {
  constexpr int kTokens = 90'000;
  Answers(std::string(kTokens, 'a'));
  const std::string body = R"({"prompt":"hi","max_tokens":90000,"logprobs":1,"stream":true})";
  const auto slow = Connect();
  ASSERT_TRUE(slow->Send(HttpClient::PostText("/v1/completions", body)));
  EXPECT_TRUE(WaitUntil([&] { return engine_.Load().finished_total == 1; }));
  Answers("quick");
  EXPECT_EQ(Complete(kHi).Json()["choices"][0]["text"], "quick");
  const HttpAnswer answer = slow->Read();
  EXPECT_EQ(answer.status, 200);
  size_t tokens = 0;
  for (const std::string& event : answer.Events()) {
    const auto json = nlohmann::json::parse(event, nullptr, false);
    if (json.is_object() && !json["choices"][0]["logprobs"].is_null()) {
      tokens += json["choices"][0]["logprobs"]["tokens"].size();
    }
  }
  EXPECT_EQ(tokens, size_t{kTokens});
}

TEST_F(HttpTest, HttpOneZeroEndsWithTheConnection) {
  Answers("abc");
  const auto plain = Connect();
  ASSERT_TRUE(plain->Send("GET /version HTTP/1.0\r\n\r\n"));
  EXPECT_EQ(plain->Read().Header("connection"), "close");
  EXPECT_TRUE(plain->ReadsEnd());
  const std::string body = R"({"prompt":"hi","stream":true})";
  const auto stream = Connect();
  ASSERT_TRUE(stream->Send("POST /v1/completions HTTP/1.0\r\nContent-Length: " +
                           std::to_string(body.size()) + "\r\n\r\n" + body));
  const HttpAnswer answer = stream->Read();
  EXPECT_EQ(answer.Header("transfer-encoding"), "");
  ASSERT_FALSE(answer.Events().empty());
  EXPECT_EQ(answer.Events().back(), "[DONE]");
}

TEST_F(HttpTest, HeadHasNoBody) {
  const auto client = Connect();
  ASSERT_TRUE(client->Send("HEAD /version HTTP/1.1\r\nHost: x\r\n\r\n"));
  const std::string head = client->ReadUntil("\r\n\r\n");
  EXPECT_NE(head.find("200 OK"), std::string::npos);
  EXPECT_NE(head.find("content-length: 18"), std::string::npos) << head;
  EXPECT_EQ(client->Get("/version").status, 200);
}

TEST_F(HttpTest, ShutdownLetsAnswersFinishAndCutsOffTheRest) {
  Answers("abc", Held(1));
  const auto client = Connect();
  ASSERT_TRUE(
      client->Send(HttpClient::PostText("/v1/completions", R"({"prompt":"hi","stream":true})")));
  EXPECT_NE(client->ReadUntil("\n\n"), "");
  const auto idle = Connect();
  EXPECT_EQ(idle->Get("/version").status, 200);
  server_->Shutdown(absl::ZeroDuration());
  EXPECT_TRUE(idle->ReadsEnd());
  EXPECT_EQ(client->ReadUntil("[DONE]"), "");
  EXPECT_EQ(engine_.cancel_count(), 1);
  EXPECT_FALSE(HttpClient(address_).Send("x") && HttpClient(address_).Read().status != 0);
}

// Whatever comes: the server goes on, and no connection, request or byte of a body is left behind.
TEST_F(HttpTest, ChangedRequestsLeaveNothingBehind) {
  // So that a client which waits for an answer that cannot come does not wait long.
  options_.idle_timeout = options_.header_timeout = options_.body_timeout = absl::Milliseconds(50);
  base::Rng rng(tests::TestSeed());
  const std::string texts[] = {
      HttpClient::PostText("/v1/completions", kHi, "X-Request-Id: a\r\nExpect: 100-continue\r\n"),
      "POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      "7;e=f\r\n{\"a\":1}\r\n0\r\nTrailer: x\r\n\r\n",
      "GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
  };
  for (int round = 0; round < 500; ++round) {
    std::string text;
    for (int64_t i = rng.Between(1, 3); i > 0; --i) text += texts[rng.Between(0, 2)];
    for (int64_t i = rng.Between(0, 4); i > 0; --i) {
      const auto at = static_cast<size_t>(rng.Between(0, static_cast<int64_t>(text.size()) - 1));
      if (rng.Chance(0.5)) {
        text[at] = static_cast<char>(rng.Between(0, 255));
      } else {
        text.erase(at, static_cast<size_t>(rng.Between(1, 20)));
      }
      if (text.empty()) text = "x";
    }
    const auto client = Connect();
    client->Send(text);
    if (rng.Chance(0.2)) client->ReadUntil("HTTP/1.1");
  }
  EXPECT_EQ(Get("/version").status, 200);
  EXPECT_TRUE(WaitUntil([&] { return server_->connection_count() == 0; }));
  EXPECT_TRUE(live_calls_.WaitUntilEmpty(absl::Seconds(30)));
  EXPECT_EQ(server_->bodies_bytes(), 0);
}

TEST_F(HttpTest, ATakenPortIsToldWithItsRemedy) {
  HttpServerOptions options = options_;
  options.listen = *ParseListenAddress(address());
  const auto second = HttpServer::Start(options, api_.get());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(second.status().message().find("--http-listen"), std::string::npos) << second.status();
}

}  // namespace
}  // namespace ebb::server
