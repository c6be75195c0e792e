// HTTP as nobody should speak it: what a proxy might read in another way, what is not HTTP at all,
// floods. See docs/hostile-inputs.md.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/server/http/http_fixture.h"

namespace ebb::server {
namespace {

using tests::HttpAnswer;
using tests::HttpClient;
using tests::WaitUntil;

constexpr char kTokenize[] = "POST /tokenize HTTP/1.1\r\nHost: x\r\n";
constexpr char kChunked[] =
    "POST /tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
constexpr char kBody[] = R"({"prompt":"a"})";  // 14 bytes.

// Two readers of the same bytes must not disagree about where a request ends: each of these is
// refused, and with it whatever comes behind it on the connection.
TEST_F(HttpTest, WhatCouldBeReadInTwoWaysEndsTheConnection) {
  const std::string smuggled = "GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n";
  const std::string get = "GET /version HTTP/1.1\r\n";
  const std::pair<std::string, std::string> cases[] = {
      {"length with a sign", std::string(kTokenize) + "Content-Length: +14\r\n\r\n" + kBody},
      {"length in hex", std::string(kTokenize) + "Content-Length: 0xE\r\n\r\n" + kBody},
      {"length with a fraction", std::string(kTokenize) + "Content-Length: 14.0\r\n\r\n" + kBody},
      {"length 2^64 + 14",
       std::string(kTokenize) + "Content-Length: 18446744073709551630\r\n\r\n" + kBody},
      {"two lengths in one", std::string(kTokenize) + "Content-Length: 14, 15\r\n\r\n" + kBody},
      {"no length", std::string(kTokenize) + "Content-Length: \r\n\r\n" + kBody},
      {"another coding", std::string(kTokenize) + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"},
      {"chunked twice",
       std::string(kTokenize) + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"},
      {"two codings",
       std::string(kTokenize) +
           "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"},
      {"chunked in quotes",
       std::string(kTokenize) + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"},
      {"a vertical tab before it", std::string(kTokenize) + "Transfer-Encoding: \x0B"
                                                            "chunked\r\n\r\n0\r\n\r\n"},
      {"chunked by HTTP/1.0",
       "POST /tokenize HTTP/1.0\r\nHost: x\r\nContent-Length: 14\r\nTransfer-Encoding: "
       "chunked\r\n\r\n0\r\n\r\n"},
      {"a bare line feed", "GET /version HTTP/1.1\nHost: x\n\n"},
      {"a bare line feed behind a field", get + "Host: x\nX: y\r\n\r\n"},
      {"a bare carriage return", get + "Host: x\rX: y\r\n\r\n"},
      {"a space before the colon", get + "Host: x\r\nContent-Length : 5\r\n\r\n"},
      {"a field without a name", get + "Host: x\r\n: y\r\n\r\n"},
      {"a field without a colon", get + "Host: x\r\nnonsense\r\n\r\n"},
      {"a NUL in a field", get + "Host: x\r\nX: a" + std::string(1, '\0') + "b\r\n\r\n"},
      {"a first field that is folded", get + " X: y\r\nHost: x\r\n\r\n"},
      {"two hosts", get + "Host: x\r\nHost: y\r\n\r\n"},
      {"a chunk of 2^64", std::string(kChunked) + "10000000000000000\r\n" + kBody},
      {"a chunk of 2^64 - 1", std::string(kChunked) + "FFFFFFFFFFFFFFFF\r\n" + kBody},
      {"a chunk of -1", std::string(kChunked) + "-1\r\n" + kBody},
      {"a chunk in hex with 0x", std::string(kChunked) + "0xE\r\n" + kBody + "\r\n0\r\n\r\n"},
      {"a chunk that is longer than it says",
       std::string(kChunked) + "D\r\n" + kBody + "\r\n0\r\n\r\n"},
      {"an extension of a megabyte",
       std::string(kChunked) + "E;" + std::string(1 << 20, 'x') + "\r\n" + kBody},
      {"a trailer without a colon", std::string(kChunked) + "0\r\nnonsense\r\n\r\n"},
  };
  for (const auto& [name, text] : cases) {
    const auto client = Connect();
    client->Send(text + smuggled);
    const HttpAnswer answer = client->Read();
    EXPECT_GE(answer.status, 400) << name;
    EXPECT_LT(answer.status, 506) << name;
    EXPECT_EQ(answer.Header("connection"), "close") << name;
    EXPECT_TRUE(client->ReadsEnd()) << name << ": what came behind it was answered";
  }
  EXPECT_TRUE(engine_.requests().empty());
}

// The body of a GET belongs to it, and is no next request.
TEST_F(HttpTest, TheBodyOfAGetIsNoRequest) {
  const std::string inner = "GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n";
  const auto client = Connect();
  ASSERT_TRUE(client->Send("GET /version HTTP/1.1\r\nHost: x\r\nContent-Length: " +
                           std::to_string(inner.size()) + "\r\n\r\n" + inner));
  EXPECT_EQ(client->Read().Json()["version"], "test");
  EXPECT_EQ(client->Get("/health/live").Json()["status"], "live");
}

TEST_F(HttpTest, WhatIsNoHttpIsToldSoOrCutOff) {
  std::string hello("\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03", 11);
  hello += std::string(500, '\x55');
  const std::string cases[] = {
      hello,                                                                  // TLS.
      std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33),  // HTTP/2.
      "SSH-2.0-OpenSSH_9.2\r\n",
      std::string(1000, '\0'),
      "EHLO x\r\n",
      "\r\n\r\n\r\n\r\n",
  };
  for (const std::string& text : cases) {
    const auto client = Connect();
    ASSERT_TRUE(client->Send(text + "\r\n\r\n"));
    const HttpAnswer answer = client->Read();
    EXPECT_TRUE(answer.status == 400 || answer.status == 505) << answer.status << text;
    EXPECT_TRUE(client->ReadsEnd());
  }
  EXPECT_EQ(Get("/version").status, 200);
}

TEST_F(HttpTest, PathsAreTakenAsTheyAre) {
  for (const std::string path :
       {"//v1/models", "/v1//models", "/v1/models/", "/v1/models/..", "/v1/./models", "/V1/models",
        "/v1/%6dodels", "/%2e%2e/%2e%2e/etc/passwd", "/../../etc/passwd", "/v1/models/..%2f..%2fx",
        "/v1/models/%00", "/v1/models/fake%00", "/v1/models/\\\\x", "/metrics/../version", "/*"}) {
    const HttpAnswer answer = Get(path);
    EXPECT_EQ(answer.status, 404) << path;
    EXPECT_LT(answer.body.size(), 300u) << path;
  }
  // A query is no part of it, however long it is.
  EXPECT_EQ(Get("/version?" + std::string(8000, 'q')).status, 200);
  std::string bomb = "/version?a=1";
  for (int i = 0; i < 3000; ++i) bomb += "&a=1";
  EXPECT_EQ(Get(bomb).status, 200);
  EXPECT_EQ(Get("/version?" + std::string(20'000, 'q')).status, 431);
}

TEST_F(HttpTest, EveryRouteTellsItsMethods) {
  for (const HttpApi::RouteName& route : HttpApi::Routes()) {
    const std::string path = route.path == "/v1/models/NAME" ? "/v1/models/fake" : route.path;
    for (const std::string method :
         {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW"}) {
      const auto client = Connect();
      ASSERT_TRUE(client->Send(method + " " + path + " HTTP/1.1\r\nHost: x\r\n" +
                               "Content-Length: 2\r\n\r\n{}"));
      const HttpAnswer answer = client->Read();
      if (method == route.method) {
        EXPECT_NE(answer.status, 405) << method << " " << path;
        continue;
      }
      EXPECT_EQ(answer.status, 405) << method << " " << path;
      EXPECT_NE(answer.Header("allow").find(route.method), std::string::npos) << path;
    }
  }
  EXPECT_TRUE(engine_.requests().empty());
}

TEST_F(HttpTest, ManyHeadersAreReadAndTooManyRefused) {
  const auto with = [&](int count) {
    std::string text = "GET /version HTTP/1.1\r\nHost: x\r\n";
    for (int i = 0; i < count; ++i) text += "X-" + std::to_string(i) + ": a\r\n";
    const auto client = Connect();
    client->Send(text + "\r\n");
    return client->Read().status;
  };
  EXPECT_EQ(with(500), 200);
  EXPECT_EQ(with(5000), 431);
}

// No page of a browser gets at a server that has no tokens: it answers no preflight, and lets no
// other origin read an answer.
TEST_F(HttpTest, NoOtherOriginIsLetIn) {
  const std::string origin = "Origin: http://attacker.example\r\n";
  const auto client = Connect();
  ASSERT_TRUE(client->Send("OPTIONS /v1/completions HTTP/1.1\r\nHost: x\r\n" + origin +
                           "Access-Control-Request-Method: POST\r\n"
                           "Access-Control-Request-Headers: content-type\r\n\r\n"));
  const HttpAnswer preflight = client->Read();
  EXPECT_EQ(preflight.status, 405);
  const HttpAnswer answer = Post("/tokenize", kBody, origin);
  EXPECT_EQ(answer.status, 200);
  // What a browser sends to another origin without a preflight is not read.
  const auto form = Connect();
  ASSERT_TRUE(form->Send(std::string(kTokenize) + origin +
                         "Content-Type: text/plain\r\nContent-Length: 14\r\n\r\n" + kBody));
  EXPECT_EQ(form->Read().status, 415);
  const auto blob = Connect();
  ASSERT_TRUE(blob->Send(std::string(kTokenize) + origin + "Content-Length: 14\r\n\r\n" + kBody));
  EXPECT_EQ(blob->Read().status, 415);
  for (const HttpAnswer& each : {preflight, answer}) {
    for (const auto& [name, value] : each.headers) {
      EXPECT_NE(name.rfind("access-control-", 0), 0u) << name << ": " << value;
    }
  }
}

// Whoever is turned away learns nothing of the machine.
TEST_F(HttpTest, ErrorsTellNoPathAddressOrVersion) {
  std::vector<HttpAnswer> answers = {Get("/nothing"), Post("/tokenize", "{"),
                                     Post("/v1/completions", R"({"prompt":"a","model":"x"})"),
                                     Post("/v1/completions", R"({"prompt":"a","n":0})"),
                                     Post("/v1/models", "{}")};
  const auto client = Connect();
  client->Send("nonsense\r\n\r\n");
  answers.push_back(client->Read());
  for (const HttpAnswer& answer : answers) {
    EXPECT_GE(answer.status, 400);
    EXPECT_EQ(answer.Header("server"), "");
    for (const char* word : {"0x", "127.0.0.1", ".cc", "/usr", "/tmp", "boost", "Boost", "beast"}) {
      EXPECT_EQ(answer.body.find(word), std::string::npos) << word << " in " << answer.body;
    }
  }
}

// Names are compared, never opened or kept: a flood of them leaves nothing behind, no label of a
// metric either.
TEST_F(HttpTest, AFloodOfModelNamesIsNotFound) {
  const auto series_count = [&] {
    const std::string metrics = Get("/metrics").body;
    return std::count(metrics.begin(), metrics.end(), '\n');
  };
  Complete(R"({"prompt":"a","model":"other"})");
  const auto before = series_count();
  EXPECT_GT(before, 50);
  const auto client = Connect();
  for (int i = 0; i < 2000; ++i) {
    const HttpAnswer answer = client->Post(
        "/v1/completions", R"({"prompt":"a","model":"../adapters/)" + std::to_string(i) + "\"}");
    ASSERT_EQ(answer.status, 404) << answer.body;
  }
  EXPECT_TRUE(engine_.requests().empty());
  EXPECT_LE(log_.Of("request_refused").size(), 100u);
  for (int i = 0; i < 200; ++i) {
    Get("/path-" + std::to_string(i));
    const auto odd = Connect();
    odd->Send("METHOD" + std::to_string(i) + " /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_EQ(odd->Read().status, 405);
  }
  EXPECT_EQ(series_count(), before);
}

TEST_F(HttpTest, AClientThatConnectsAgainAndAgainLeavesNothing) {
  for (int i = 0; i < 1000; ++i) {
    const auto client = Connect();
    if (i % 3 == 0) client->Send("GET /version HTTP/1.1\r\nHost: x\r\n\r\n");
    if (i % 3 == 1) client->Send(std::string(kChunked) + "E\r\n");
    if (i % 2 == 0) client->Reset();
  }
  EXPECT_EQ(Get("/version").status, 200);
  EXPECT_TRUE(WaitUntil([&] { return server_->connection_count() == 0; }));
  EXPECT_EQ(server_->bodies_bytes(), 0);
}

}  // namespace
}  // namespace ebb::server
