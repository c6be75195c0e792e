// Which Host headers are taken: none that a page of a stranger's could send.
#include "server/http/host_names.h"

#include "gtest/gtest.h"
#include "tests/server/http/http_fixture.h"

namespace ebb::server {
namespace {

using tests::HttpAnswer;

constexpr char kStrangers[] = "attacker.example";

ListenAddress On(const std::string& address) { return *ParseListenAddress(address); }

TEST(HostNamesTest, TheLoopbackIsCalledByAddressOrLocalhost) {
  for (const char* listen : {"127.0.0.1:8000", "[::1]:8000", "127.0.0.2:1"}) {
    const HostNames names(On(listen), "");
    for (const char* good :
         {"localhost", "localhost:8000", "LocalHost:1", "127.0.0.1", "127.0.0.1:8000", "[::1]",
          "[::1]:8000", "127.0.0.2:8000", "10.1.2.3:8000", "[2001:db8::1]:8000", "0.0.0.0:8000"}) {
      EXPECT_TRUE(names.Allows(good)) << good;
    }
    for (const char* bad :
         {"", ":8000", "attacker.example", "attacker.example:8000", "localhost.attacker.example",
          "127.0.0.1.attacker.example", "localhost.", "[", "[::1", "[attacker.example]", "::1",
          "127.1", "2130706433", "0x7f000001", "attacker.example:localhost", "local host", "*"}) {
      EXPECT_FALSE(names.Allows(bad)) << bad;
    }
  }
}

TEST(HostNamesTest, NamesAreListed) {
  const HostNames names(On("127.0.0.1:8000"), "ebb, gpu-1.example.com ,");
  for (const char* good : {"ebb:8000", "EBB", "gpu-1.example.com:443", "localhost", "10.0.0.1"}) {
    EXPECT_TRUE(names.Allows(good)) << good;
  }
  for (const char* bad : {"ebb.example.com", "gpu-2.example.com", "", ","}) {
    EXPECT_FALSE(names.Allows(bad)) << bad;
  }
  EXPECT_TRUE(HostNames(On("127.0.0.1:8000"), "*").Allows(kStrangers));
}

TEST(HostNamesTest, BeyondTheLoopbackOnlyAListForbids) {
  for (const char* listen : {"0.0.0.0:8000", "[::]:8000", "10.0.0.1:8000"}) {
    EXPECT_TRUE(HostNames(On(listen), "").Allows("ebb.default.svc:8000")) << listen;
    EXPECT_FALSE(HostNames(On(listen), "ebb").Allows(kStrangers)) << listen;
    EXPECT_TRUE(HostNames(On(listen), "ebb").Allows("10.9.8.7:8000")) << "a probe's";
  }
  EXPECT_TRUE(HostNames().Allows(kStrangers));
}

class HostTest : public HttpTest {
 protected:
  HostTest() { options_.hosts = HostNames(options_.listen, "ebb"); }

  HttpAnswer Send(const std::string& line, const std::string& host, const std::string& body = "") {
    const auto client = Connect();
    EXPECT_TRUE(client->Send(line + " HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: " +
                             std::to_string(body.size()) + "\r\n\r\n" + body));
    HttpAnswer answer = client->Read();
    if (answer.status >= 400) {
      EXPECT_TRUE(client->ReadsEnd());
    }
    return answer;
  }
};

// A rebound page gets nothing from any route, not even whether there is one.
TEST_F(HostTest, StrangersNamesAreRefusedBeforeAnythingElse) {
  std::vector<std::string> lines = {"GET /no/such/path", "OPTIONS /v1/completions", "BREW /"};
  for (const HttpApi::RouteName& route : HttpApi::Routes()) {
    lines.push_back(route.method + " " + route.path);
  }
  for (const std::string& line : lines) {
    const HttpAnswer answer = Send(line, kStrangers, R"({"prompt":"hi"})");
    EXPECT_EQ(answer.status, 421) << line;
    const nlohmann::json error = answer.Json()["error"];
    EXPECT_EQ(error["type"], "invalid_request_error") << answer.body;
    EXPECT_NE(std::string(error["message"]).find("server.http_hosts"), std::string::npos);
    EXPECT_EQ(answer.body.find(kStrangers), std::string::npos) << "no echo";
    for (const auto& [name, value] : answer.headers) {
      EXPECT_NE(name.rfind("access-control-", 0), 0u) << name << ": " << value;
    }
  }
  EXPECT_TRUE(engine_.requests().empty());
}

TEST_F(HostTest, ClientsProbesAndScrapesAreNot) {
  for (const char* host : {"localhost", "127.0.0.1:8000", "ebb:8000", "10.1.2.3:8000", "[::1]"}) {
    for (const char* path : {"/v1/models", "/metrics", "/health/live", "/health/ready"}) {
      EXPECT_EQ(Send(std::string("GET ") + path, host).status, 200) << host << path;
    }
    EXPECT_EQ(Send("POST /v1/completions", host, R"({"prompt":"hi","max_tokens":1})").status, 200);
  }
  const auto old = Connect();
  ASSERT_TRUE(old->Send("GET /health/live HTTP/1.0\r\n\r\n"));
  EXPECT_EQ(old->Read().status, 200) << "a probe of HTTP/1.0, which has no Host header";
}

}  // namespace
}  // namespace ebb::server
