// Every route but the one for liveness asks for a token.
#include <sys/stat.h>

#include <fstream>

#include "tests/server/http/http_fixture.h"

namespace ebb::server {
namespace {

constexpr char kRight[] = "Authorization: Bearer anna-token-0123456789\r\n";

class HttpAccessTest : public HttpTest {
 protected:
  HttpAccessTest() {
    const std::string path = testing::TempDir() + "/http_tokens";
    std::ofstream(path) << "anna anna-token-0123456789\n";
    EXPECT_EQ(chmod(path.c_str(), 0600), 0);
    gate_ = *AccessGate::Open(TokenHolders::kUsers, path, &clock_, &log_);
    resources_.access = gate_.get();
  }
  ~HttpAccessTest() override { server_.reset(); }

  tests::HttpAnswer Ask(const std::string& method, const std::string& path,
                        const std::string& headers) {
    if (method == "POST") return Post(path, "{}", headers);
    const auto client = Connect();
    client->Send(method + " " + path + " HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n");
    return client->Read();
  }

  std::unique_ptr<AccessGate> gate_;
};

TEST_F(HttpAccessTest, EveryRouteAsksForAToken) {
  std::vector<HttpApi::RouteName> routes = HttpApi::Routes();
  EXPECT_GE(routes.size(), 10u);
  routes.push_back({"GET", "/no/such/path"});
  for (const HttpApi::RouteName& route : routes) {
    for (const std::string& headers :
         {std::string(), std::string("Authorization: Bearer wrong-token-0123456789\r\n"),
          std::string("Authorization: Basic anna-token-0123456789\r\n"),
          std::string("Authorization:\r\n"), std::string("Authorization: Bearer  \r\n"),
          "Authorization: Bearer " + std::string(4096, 'x') + "\r\n",
          std::string("Authorization: Bearer \xC3\xA4nna-token-0123456789\r\n"),
          std::string("X-Authorization: Bearer anna-token-0123456789\r\n"),
          std::string(kRight) + kRight}) {
      const tests::HttpAnswer answer = Ask(route.method, route.path, headers);
      if (route.path == "/health/live") {
        EXPECT_EQ(answer.status, 200);
        continue;
      }
      EXPECT_EQ(answer.status, 401) << route.path << " " << headers;
      EXPECT_EQ(answer.Header("www-authenticate"), "Bearer") << route.path;
      EXPECT_EQ(answer.Json()["error"]["type"], "authentication_error") << answer.body;
    }
    EXPECT_NE(Ask(route.method, route.path, kRight).status, 401) << route.path;
  }
  EXPECT_TRUE(engine_.requests().empty());
}

TEST_F(HttpAccessTest, TheTokensNameIsTheTenant) {
  Answers("hi");
  const tests::HttpAnswer answer =
      Post("/v1/completions", R"({"model":"fake","prompt":"hi","max_tokens":2})", kRight);
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(engine_.requests()[0].tenant, "anna");
}

}  // namespace
}  // namespace ebb::server
