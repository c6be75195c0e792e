#include "server/metrics/request_metrics.h"

#include <initializer_list>
#include <utility>

#include "absl/status/status.h"

namespace ebb::server {
namespace {

// Bounds that dashboards for language models use, with smaller ones before them: small models on
// large devices are faster than those foresee.
constexpr std::initializer_list<double> kFirstTokenBounds = {
    .001, .005, .01, .02, .04, .06, .08, .1, .25, .5,  .75,
    1,    2.5,  5,   7.5, 10,  20,  40,  80, 160, 640, 2560};
constexpr std::initializer_list<double> kInterTokenBounds = {
    .0005, .001, .0025, .005, .01, .025, .05, .075, .1, .15, .2, .3,
    .4,    .5,   .75,   1,    2.5, 5,    7.5, 10,   20, 40,  80};
constexpr std::initializer_list<double> kRequestBounds = {
    .001, .005, .01, .05, .1, .3, .5, .8,  1,   1.5, 2,   2.5,  5,
    10,   15,   20,  30,  40, 50, 60, 120, 240, 480, 960, 1920, 7680};
constexpr std::initializer_list<double> kTokensBounds = {
    1,    2,    5,     10,    20,    50,     100,    200,    500,    1000,
    2000, 5000, 10000, 20000, 50000, 100000, 200000, 500000, 1000000};

constexpr const char* kOutcomeNames[] = {"stop",     "length", "cancelled", "deadline",
                                         "shutdown", "memory", "error"};

constexpr const char* kQuotaNames[] = {"requests", "tokens", "concurrent"};

double Seconds(absl::Duration duration) { return absl::ToDoubleSeconds(duration); }

}  // namespace

Outcome OutcomeOf(const engine::Finish& finish) {
  switch (finish.reason) {
    case engine::FinishReason::kStop:
      return Outcome::kStop;
    case engine::FinishReason::kLength:
      return Outcome::kLength;
    case engine::FinishReason::kCancelled:
      return Outcome::kCancelled;
    case engine::FinishReason::kDeadline:
      return Outcome::kDeadline;
    case engine::FinishReason::kError:
      break;
  }
  if (absl::IsUnavailable(finish.status)) return Outcome::kShutdown;
  if (absl::IsResourceExhausted(finish.status)) return Outcome::kMemory;
  return Outcome::kError;
}

RequestMetrics::RequestMetrics()
    : first_token_(kFirstTokenBounds),
      inter_token_(kInterTokenBounds),
      per_output_token_(kInterTokenBounds),
      duration_(kRequestBounds),
      queue_(kRequestBounds),
      prefill_(kRequestBounds),
      decode_(kRequestBounds),
      inference_(kRequestBounds),
      prompt_length_(kTokensBounds),
      generation_length_(kTokensBounds) {}

void RequestMetrics::OnAccepted(int64_t prompt_tokens) {
  accepted_.Increment();
  prompt_tokens_.Increment(static_cast<double>(prompt_tokens));
}

void RequestMetrics::OnToken(RequestTimes* times, int32_t answer, absl::Time now) {
  absl::Time& last = times->last_tokens.at(static_cast<size_t>(answer));
  if (!std::exchange(times->any_token, true)) first_token_.Observe(Seconds(now - times->received));
  if (last != absl::InfinitePast()) inter_token_.Observe(Seconds(now - last));
  last = now;
}

void RequestMetrics::OnAnswerFinish(const engine::Finish& finish) {
  if (finish.completion_tokens < 2) return;
  const absl::Duration decode = finish.total_time - finish.first_token_time;
  per_output_token_.Observe(Seconds(decode / (finish.completion_tokens - 1)));
}

void RequestMetrics::OnFinish(const RequestTimes& times, const engine::Finish& finish,
                              absl::Time now) {
  finished_[static_cast<size_t>(OutcomeOf(finish))].Increment();
  duration_.Observe(Seconds(now - times.received));
  queue_.Observe(Seconds(finish.queue_time));
  inference_.Observe(Seconds(finish.total_time - finish.queue_time));
  prompt_length_.Observe(finish.prompt_tokens);
  generation_length_.Observe(finish.completion_tokens);
  if (finish.first_token_time == absl::InfiniteDuration()) return;
  prefill_.Observe(Seconds(finish.first_token_time - finish.queue_time));
  decode_.Observe(Seconds(finish.total_time - finish.first_token_time));
}

void RequestMetrics::Collect(Families* out) const {
  out->Counter("ebb_requests_accepted_total", "Requests that the engine has taken.",
               accepted_.Value());
  for (size_t i = 0; i < kOutcomes; ++i) {
    out->Counter("ebb_requests_finished_total", "Accepted requests that have ended.",
                 finished_[i].Value(), {{"outcome", kOutcomeNames[i]}});
  }
  for (size_t i = 0; i < kQuotas; ++i) {
    out->Counter("ebb_requests_over_quota_total",
                 "Requests that were turned away because their tenant had used up a quota.",
                 over_quota_[i].Value(), {{"quota", kQuotaNames[i]}});
  }
  out->Counter("ebb_prompt_tokens_total", "Prompt tokens of accepted requests.",
               prompt_tokens_.Value());
  const struct {
    const char* name;
    const char* help;
    const prometheus::Histogram& histogram;
  } histograms[] = {
      {"ebb_time_to_first_token_seconds", "From the arrival of a request to its first token.",
       first_token_},
      {"ebb_inter_token_latency_seconds", "From one token of an answer to the next.", inter_token_},
      {"ebb_time_per_output_token_seconds", "Mean time of each token of an answer after its first.",
       per_output_token_},
      {"ebb_request_duration_seconds", "From the arrival of a request to its end.", duration_},
      {"ebb_request_queue_seconds", "From the acceptance of a request to its first step.", queue_},
      {"ebb_request_prefill_seconds", "From the first step of a request to its first token.",
       prefill_},
      {"ebb_request_decode_seconds", "From the first token of a request to its end.", decode_},
      {"ebb_request_inference_seconds", "From the first step of a request to its end.", inference_},
      {"ebb_request_prompt_tokens", "Prompt tokens of a request that has ended.", prompt_length_},
      {"ebb_request_generation_tokens", "Tokens of all answers to a request that has ended.",
       generation_length_},
  };
  for (const auto& [name, help, histogram] : histograms) {
    out->Histogram(name, help, histogram.Collect().histogram);
  }
}

}  // namespace ebb::server
