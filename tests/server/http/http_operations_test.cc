// What operators ask of the HTTP port: metrics, probes, traces.
#include <memory>
#include <string>
#include <vector>

#include "tests/server/http/http_fixture.h"

namespace ebb::server {
namespace {

using tests::HttpAnswer;
using tests::HttpClient;
using tests::WaitUntil;

TEST_F(HttpTest, MetricsCountWhatIsServed) {
  Answers("hello");
  ASSERT_EQ(Complete(R"({"prompt":"hi","n":2})").status, 200);
  EXPECT_EQ(Complete(R"({"prompt":"hi","max_tokens":-1})").status, 400);
  const HttpAnswer answer = Get("/metrics");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.Header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  for (const char* line :
       {"ebb_requests_accepted_total 1\n", "ebb_requests_finished_total{outcome=\"stop\"} 1\n",
        "ebb_requests_refused_total{code=\"INVALID_ARGUMENT\"} 1\n", "ebb_prompt_tokens_total 2\n",
        "ebb_generation_tokens_total 10\n", "ebb_time_to_first_token_seconds_count 1\n",
        "ebb_inter_token_latency_seconds_count 8\n", "ebb_request_duration_seconds_count 1\n"}) {
    EXPECT_NE(answer.body.find(line), std::string::npos) << line;
  }
  EXPECT_EQ(Post("/metrics", "{}").Header("allow"), "GET, HEAD");
}

TEST_F(HttpTest, AHungEngineHoldsUpScrapesAlone) {
  engine_.HoldViews();
  std::vector<std::unique_ptr<HttpClient>> scrapers;
  for (int i = 0; i < 8; ++i) {
    scrapers.push_back(Connect());
    ASSERT_TRUE(scrapers.back()->Send("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"));
  }
  ASSERT_TRUE(WaitUntil([&] { return engine_.IsAskedInVain(); }));
  for (const std::string path : {"/health", "/health/live", "/health/ready", "/version"}) {
    EXPECT_EQ(Get(path).status, 200) << path;
  }
  engine_.LetViewsGo();
  EXPECT_EQ(scrapers[0]->Read().status, 200);
  for (size_t i = 1; i < scrapers.size(); ++i) {
    const int status = scrapers[i]->Read().status;
    EXPECT_TRUE(status == 200 || status == 503) << status;
  }
}

TEST_F(HttpTest, ATraceIsCarriedToTheEngine) {
  const std::string good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const std::string body = R"({"prompt":"hi","max_tokens":1})";
  EXPECT_EQ(Post("/v1/completions", body, "Traceparent: " + good + "\r\n").status, 200);
  EXPECT_EQ(Post("/v1/completions", body, "traceparent: 00-0\r\n").status, 200);
  EXPECT_EQ(Post("/v1/completions", body).status, 200);
  ASSERT_EQ(engine_.requests().size(), 3u);
  EXPECT_EQ(engine_.requests()[0].trace_id, "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(engine_.requests()[1].trace_id, "");
  EXPECT_EQ(engine_.requests()[2].trace_id, "");
}

}  // namespace
}  // namespace ebb::server
