#include "cli/bench/report.h"

#include <limits>

#include "gtest/gtest.h"

namespace ebb::cli {
namespace {

RequestOutcome Answered(double first, double last, int64_t tokens) {
  RequestOutcome request;
  request.arrival.prompt_tokens = 10;
  request.sent = true;
  request.output_tokens = tokens;
  request.first_token = first;
  request.last_token = last;
  request.total = last + 0.5;
  for (int64_t i = 1; i < tokens; ++i) {
    request.gaps.push_back((last - first) / static_cast<double>(tokens - 1));
  }
  return request;
}

LoadResult TestResult() {
  LoadResult result;
  result.seconds = 4;
  result.requests.push_back(Answered(1, 3, 5));  // 0.5 s per token.
  result.requests.push_back(Answered(2, 6, 5));  // 1 s per token.
  result.requests.push_back(Answered(1, 1, 1));
  RequestOutcome refused;
  refused.sent = true;
  refused.code = grpc::StatusCode::RESOURCE_EXHAUSTED;
  refused.message = "the queue is full";
  result.requests.push_back(refused);
  result.requests.push_back(refused);
  result.requests.push_back(RequestOutcome());  // Not sent.
  result.memory.push_back({0, 300, 100, 0, 1000});
  result.memory.push_back({1, 100, 300, 0, 1000});
  result.memory.push_back({2, 200, 0, 0, 1000});
  return result;
}

TEST(ReportTest, FiguresByHand) {
  const double none = std::numeric_limits<double>::infinity();
  const Report report = Summarize(TestResult(), {none, none});
  EXPECT_EQ(report.scheduled, 6);
  EXPECT_EQ(report.not_sent, 1);
  EXPECT_EQ(report.ok, 3);
  EXPECT_EQ(report.good, 3);
  EXPECT_EQ(report.errors.at("RESOURCE_EXHAUSTED").count, 2);
  EXPECT_EQ(report.errors.at("RESOURCE_EXHAUSTED").first_message, "the queue is full");
  EXPECT_EQ(report.first_token.p50, 1);
  EXPECT_EQ(report.first_token.max, 2);
  EXPECT_EQ(report.token.count, 2u);
  EXPECT_EQ(report.token.mean, 0.75);
  EXPECT_EQ(report.gap.count, 8u);
  EXPECT_EQ(report.requests_per_second, 0.75);
  EXPECT_EQ(report.output_tokens_per_second, 11.0 / 4);
  EXPECT_EQ(report.prompt_tokens_per_second, 30.0 / 4);
  EXPECT_EQ(report.held_bytes.max, 300);
  EXPECT_EQ(report.held_over_needed, 600.0 / 400);
}

TEST(ReportTest, GoodAnswersKeepBothBounds) {
  const double none = std::numeric_limits<double>::infinity();
  EXPECT_EQ(Summarize(TestResult(), {1, none}).good, 2);
  EXPECT_EQ(Summarize(TestResult(), {none, 0.5}).good, 2);  // One token has no time per token.
  EXPECT_EQ(Summarize(TestResult(), {0.5, 0.5}).good, 0);
  EXPECT_EQ(Summarize(TestResult(), {1, 0.6}).goodput_per_second, 0.5);
}

TEST(ReportTest, JsonAndTableOfNothing) {
  const Report report = Summarize(LoadResult(), {1, 1});
  const nlohmann::ordered_json json = ReportJson(report, LoadResult());
  EXPECT_EQ(json["ttft_seconds"].dump(), "{\"count\":0}");
  EXPECT_EQ(json["slo"]["ttft_ms"], 1000);
  EXPECT_NE(ReportTable(report).find("0 requests"), std::string::npos);
}

TEST(ReportTest, TableNamesErrors) {
  const std::string table = ReportTable(Summarize(TestResult(), {1, 1}));
  EXPECT_NE(table.find("2 x RESOURCE_EXHAUSTED: the queue is full"), std::string::npos);
  EXPECT_NE(table.find("1 not sent"), std::string::npos);
}

}  // namespace
}  // namespace ebb::cli
