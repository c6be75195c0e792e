#include "server/metrics/request_metrics.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace ebb::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;

const absl::Time kStart = absl::FromUnixSeconds(1'000'000);

MetricFamily Of(const RequestMetrics& metrics, const std::string& name) {
  Families families;
  metrics.Collect(&families);
  for (const MetricFamily& family : families.all()) {
    if (family.name == name) return family;
  }
  ADD_FAILURE() << "no " << name;
  return {};
}

ClientMetric::Histogram HistogramOf(const RequestMetrics& metrics, const std::string& name) {
  return Of(metrics, name).metric.at(0).histogram;
}

engine::Finish Ended(engine::FinishReason reason, absl::Status status = absl::OkStatus()) {
  engine::Finish finish;
  finish.reason = reason;
  finish.status = std::move(status);
  finish.prompt_tokens = 7;
  finish.completion_tokens = 5;
  finish.queue_time = absl::Seconds(1);
  finish.first_token_time = absl::Seconds(3);
  finish.total_time = absl::Seconds(11);
  return finish;
}

TEST(RequestMetricsTest, TimesOfOneAnswer) {
  RequestMetrics metrics;
  metrics.OnAccepted(7);
  RequestTimes times(kStart, 1);
  metrics.OnToken(&times, 0, kStart + absl::Milliseconds(300));
  metrics.OnToken(&times, 0, kStart + absl::Milliseconds(340));
  metrics.OnToken(&times, 0, kStart + absl::Milliseconds(390));
  metrics.OnAnswerFinish(Ended(engine::FinishReason::kStop));
  metrics.OnFinish(times, Ended(engine::FinishReason::kStop), kStart + absl::Seconds(12));

  EXPECT_EQ(Of(metrics, "ebb_requests_accepted_total").metric[0].counter.value, 1);
  EXPECT_EQ(Of(metrics, "ebb_prompt_tokens_total").metric[0].counter.value, 7);
  const auto sum = [&](const std::string& name) {
    EXPECT_EQ(HistogramOf(metrics, name).sample_count, 1u) << name;
    return HistogramOf(metrics, name).sample_sum;
  };
  EXPECT_NEAR(sum("ebb_time_to_first_token_seconds"), 0.3, 1e-9);
  EXPECT_EQ(sum("ebb_request_duration_seconds"), 12);
  EXPECT_EQ(sum("ebb_request_queue_seconds"), 1);
  EXPECT_EQ(sum("ebb_request_prefill_seconds"), 2);
  EXPECT_EQ(sum("ebb_request_decode_seconds"), 8);
  EXPECT_EQ(sum("ebb_request_inference_seconds"), 10);
  EXPECT_EQ(sum("ebb_time_per_output_token_seconds"), 2);  // 8 s for the four after the first.
  EXPECT_EQ(sum("ebb_request_prompt_tokens"), 7);
  EXPECT_EQ(sum("ebb_request_generation_tokens"), 5);
  const ClientMetric::Histogram gaps = HistogramOf(metrics, "ebb_inter_token_latency_seconds");
  EXPECT_EQ(gaps.sample_count, 2u);
  EXPECT_NEAR(gaps.sample_sum, 0.09, 1e-9);
}

// Answers of one request come side by side: a gap is between two tokens of the same.
TEST(RequestMetricsTest, AnswersHaveGapsOfTheirOwn) {
  RequestMetrics metrics;
  RequestTimes times(kStart, 2);
  metrics.OnToken(&times, 0, kStart + absl::Seconds(1));
  metrics.OnToken(&times, 1, kStart + absl::Seconds(2));
  metrics.OnToken(&times, 0, kStart + absl::Seconds(4));
  metrics.OnToken(&times, 1, kStart + absl::Seconds(6));
  EXPECT_EQ(HistogramOf(metrics, "ebb_time_to_first_token_seconds").sample_sum, 1);
  EXPECT_EQ(HistogramOf(metrics, "ebb_inter_token_latency_seconds").sample_count, 2u);
  EXPECT_EQ(HistogramOf(metrics, "ebb_inter_token_latency_seconds").sample_sum, 3 + 4);
}

TEST(RequestMetricsTest, ARequestWithoutATokenHasNoTimeToIt) {
  RequestMetrics metrics;
  engine::Finish finish = Ended(engine::FinishReason::kDeadline, absl::DeadlineExceededError("x"));
  finish.completion_tokens = 0;
  finish.first_token_time = absl::InfiniteDuration();
  metrics.OnAnswerFinish(finish);
  metrics.OnFinish(RequestTimes(kStart, 1), finish, kStart + absl::Seconds(12));
  EXPECT_EQ(HistogramOf(metrics, "ebb_request_duration_seconds").sample_count, 1u);
  EXPECT_EQ(HistogramOf(metrics, "ebb_request_prefill_seconds").sample_count, 0u);
  EXPECT_EQ(HistogramOf(metrics, "ebb_time_per_output_token_seconds").sample_count, 0u);
}

TEST(RequestMetricsTest, EveryEndHasOneOutcome) {
  const struct {
    engine::Finish finish;
    const char* outcome;
  } cases[] = {
      {Ended(engine::FinishReason::kStop), "stop"},
      {Ended(engine::FinishReason::kLength), "length"},
      {Ended(engine::FinishReason::kCancelled, absl::CancelledError("x")), "cancelled"},
      {Ended(engine::FinishReason::kDeadline, absl::DeadlineExceededError("x")), "deadline"},
      {Ended(engine::FinishReason::kError, absl::UnavailableError("x")), "shutdown"},
      {Ended(engine::FinishReason::kError, absl::ResourceExhaustedError("x")), "memory"},
      {Ended(engine::FinishReason::kError, absl::InternalError("x")), "error"},
  };
  for (const auto& [finish, outcome] : cases) {
    RequestMetrics metrics;
    metrics.OnFinish(RequestTimes(kStart, 1), finish, kStart + absl::Seconds(12));
    const MetricFamily family = Of(metrics, "ebb_requests_finished_total");
    EXPECT_EQ(family.metric.size(), std::size(cases));
    for (const ClientMetric& sample : family.metric) {
      EXPECT_EQ(sample.counter.value, sample.label.at(0).value == outcome ? 1 : 0) << outcome;
    }
  }
}

}  // namespace
}  // namespace ebb::server
