// Quotas over HTTP: the status, the header and the words of a refusal, and what counts as a
// request.
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "base/clock_fake.h"
#include "tests/server/http/http_fixture.h"

namespace ebb::server {
namespace {

// Before the fixture, so that calls end first.
struct QuotasOnAFakeClock {
  base::FakeClock quota_clock;
  RequestMetrics quota_metrics;
  std::unique_ptr<Quotas> quotas;
};

class QuotaHttpTest : protected QuotasOnAFakeClock, public HttpTest {
 protected:
  QuotaHttpTest() { Answers("yes"); }
  ~QuotaHttpTest() override { server_.reset(); }

  void Use(const QuotaLimits& limits) {
    quotas = std::make_unique<Quotas>(limits, &quota_clock, &quota_metrics);
    resources_.quotas = quotas.get();
  }
  tests::HttpAnswer Ask(const std::string& prompt = R"("hi")", const std::string& more = "") {
    return Complete(R"({"prompt":)" + prompt + more + "}");
  }
};

TEST_F(QuotaHttpTest, RefusalsSayWhen) {
  Use({2, 0, 0});
  EXPECT_EQ(Ask().status, 200);
  EXPECT_EQ(Chat(R"({"messages":[{"role":"user","content":"hi"}]})").status, 200);
  quota_clock.Advance(absl::Milliseconds(7500));
  for (const char* more : {"", R"(,"stream":true)"}) {
    const tests::HttpAnswer refused = Ask(R"("hi")", more);
    EXPECT_EQ(refused.status, 429);
    EXPECT_EQ(refused.Header("retry-after"), "23") << "22.5 s, rounded up";
    EXPECT_EQ(refused.Json()["error"]["type"], "rate_limit_error") << refused.body;
    EXPECT_TRUE(absl::StrContains(refused.body, "2 requests a minute")) << refused.body;
  }
  // What generates nothing is not counted.
  EXPECT_EQ(Post("/tokenize", R"({"prompt":"hi"})").status, 200);
  EXPECT_EQ(Get("/health").status, 200);
  quota_clock.Advance(absl::Milliseconds(22'499));
  EXPECT_EQ(Ask().status, 429);
  quota_clock.Advance(absl::Milliseconds(1));
  EXPECT_EQ(Ask().status, 200);
}

TEST_F(QuotaHttpTest, EachPromptIsARequest) {
  Use({3, 0, 0});
  EXPECT_EQ(Ask(R"(["a","b"])").status, 200);
  EXPECT_EQ(Ask(R"(["a","b"])").status, 429);
  EXPECT_EQ(engine_.requests().size(), 3u) << "the one that fitted was begun, and ended";
}

TEST_F(QuotaHttpTest, APlaceIsFreeAsSoonAsTheClientHasItsAnswer) {
  Use({0, 0, 1});
  for (int round = 0; round < 50; ++round) {
    ASSERT_EQ(Ask().status, 200) << round;
    ASSERT_EQ(Ask(R"("hi")", R"(,"stream":true)").status, 200) << round;
  }
}

TEST_F(QuotaHttpTest, AClientThatLeavesIsChargedAndItsPlaceIsFree) {
  Use({0, 5, 1});
  Answers("abcdef", Held(3));
  const auto client = Connect();
  client->Send(tests::HttpClient::PostText("/v1/completions", R"({"prompt":"hi","stream":true})"));
  EXPECT_NE(client->ReadUntil("data: "), "");
  // Its tokens are charged as they are made: until then its place alone is what others lack.
  EXPECT_TRUE(tests::WaitUntil([&] { return Ask().Header("retry-after") == "12"; }));
  client->Close();
  ASSERT_TRUE(tests::WaitUntil([&] { return engine_.Load().finished_total == 1; }));
  EXPECT_EQ(Ask().Header("retry-after"), "12");
  quota_clock.Advance(absl::Seconds(12));
  Answers("");
  EXPECT_TRUE(tests::WaitUntil([&] { return Ask().status == 200; }));
}

}  // namespace
}  // namespace ebb::server
