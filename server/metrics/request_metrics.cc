#include "server/metrics/request_metrics.h"

#include <optional>

namespace ebb::server {
namespace {

// Bounds that dashboards for language models use, with smaller ones before them: small models on
// large devices are faster than those foresee.
constexpr double kFirstTokenBounds[] = {.001, .005, .01, .02, .04, .06, .08, .1, .25, .5,  .75,
                                        1,    2.5,  5,   7.5, 10,  20,  40,  80, 160, 640, 2560};
constexpr double kInterTokenBounds[] = {.0005, .001, .0025, .005, .01, .025, .05, .075,
                                        .1,    .15,  .2,    .3,   .4,  .5,   .75, 1,
                                        2.5,   5,    7.5,   10,   20,  40,   80};
constexpr double kRequestBounds[] = {.001, .005, .01, .05, .1,  .3,  .5,   .8,  1,
                                     1.5,  2,    2.5, 5,   10,  15,  20,   30,  40,
                                     50,   60,   120, 240, 480, 960, 1920, 7680};
constexpr double kTokensBounds[] = {1,     2,      5,      10,     20,     50,    100,
                                    200,   500,    1000,   2000,   5000,   10000, 20000,
                                    50000, 100000, 200000, 500000, 1000000};

struct CauseName {
  CancelCause cause;
  const char* name;
};
constexpr CauseName kCauseNames[] = {{CancelCause::kClient, "client"},
                                     {CancelCause::kDeadline, "deadline"},
                                     {CancelCause::kShutdown, "shutdown"},
                                     {CancelCause::kMemory, "memory"},
                                     {CancelCause::kFailure, "failure"}};

std::optional<CancelCause> CauseOf(const engine::Finish& finish) {
  switch (finish.reason) {
    case engine::FinishReason::kStop:
    case engine::FinishReason::kLength:
      return std::nullopt;
    case engine::FinishReason::kCancelled:
      return CancelCause::kClient;
    case engine::FinishReason::kDeadline:
      return CancelCause::kDeadline;
    case engine::FinishReason::kError:
      break;
  }
  if (absl::IsUnavailable(finish.status)) return CancelCause::kShutdown;
  if (absl::IsResourceExhausted(finish.status)) return CancelCause::kMemory;
  return CancelCause::kFailure;
}

}  // namespace

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
  prompt_tokens_.fetch_add(prompt_tokens, std::memory_order_relaxed);
}

void RequestMetrics::OnToken(RequestTimes* times, absl::Time now) {
  if (times->last_token == absl::InfinitePast()) {
    first_token_.Observe(absl::ToDoubleSeconds(now - times->received));
  } else {
    inter_token_.Observe(absl::ToDoubleSeconds(now - times->last_token));
  }
  times->last_token = now;
}

void RequestMetrics::OnFinish(const RequestTimes& times, const engine::Finish& finish,
                              absl::Time now) {
  finished_[static_cast<size_t>(finish.reason)].fetch_add(1, std::memory_order_relaxed);
  if (const std::optional<CancelCause> cause = CauseOf(finish)) {
    cancelled_[static_cast<size_t>(*cause)].fetch_add(1, std::memory_order_relaxed);
  }
  duration_.Observe(absl::ToDoubleSeconds(now - times.received));
  queue_.Observe(absl::ToDoubleSeconds(finish.queue_time));
  inference_.Observe(absl::ToDoubleSeconds(finish.total_time - finish.queue_time));
  prompt_length_.Observe(finish.prompt_tokens);
  generation_length_.Observe(finish.completion_tokens);
  if (finish.first_token_time == absl::InfiniteDuration()) return;
  const absl::Duration decode = finish.total_time - finish.first_token_time;
  prefill_.Observe(absl::ToDoubleSeconds(finish.first_token_time - finish.queue_time));
  decode_.Observe(absl::ToDoubleSeconds(decode));
  if (finish.completion_tokens > 1) {
    per_output_token_.Observe(absl::ToDoubleSeconds(decode / (finish.completion_tokens - 1)));
  }
}

void RequestMetrics::Collect(Families* out) const {
  for (const engine::FinishReason reason : engine::kFinishReasons) {
    out->Counter("ebb_requests_finished_total", "Accepted requests that have ended.",
                 static_cast<double>(finished_[static_cast<size_t>(reason)].load()),
                 {{"reason", engine::FinishReasonName(reason)}});
  }
  for (const CauseName& cause : kCauseNames) {
    out->Counter("ebb_requests_cancelled_total", "Accepted requests that ended before their time.",
                 static_cast<double>(cancelled_[static_cast<size_t>(cause.cause)].load()),
                 {{"cause", cause.name}});
  }
  out->Counter("ebb_prompt_tokens_total", "Prompt tokens of accepted requests.",
               static_cast<double>(prompt_tokens_.load()));
  out->Histogram("ebb_time_to_first_token_seconds",
                 "From the arrival of a request to its first token.", first_token_.Collect());
  out->Histogram("ebb_inter_token_latency_seconds", "From one token of an answer to the next.",
                 inter_token_.Collect());
  out->Histogram("ebb_time_per_output_token_seconds",
                 "Mean time of each token of an answer after its first.",
                 per_output_token_.Collect());
  out->Histogram("ebb_request_duration_seconds", "From the arrival of a request to its end.",
                 duration_.Collect());
  out->Histogram("ebb_request_queue_seconds", "From a request's acceptance to its first step.",
                 queue_.Collect());
  out->Histogram("ebb_request_prefill_seconds", "From a request's first step to its first token.",
                 prefill_.Collect());
  out->Histogram("ebb_request_decode_seconds", "From a request's first token to its end.",
                 decode_.Collect());
  out->Histogram("ebb_request_inference_seconds", "From a request's first step to its end.",
                 inference_.Collect());
  out->Histogram("ebb_request_prompt_tokens", "Prompt tokens of a request that has ended.",
                 prompt_length_.Collect());
  out->Histogram("ebb_request_generation_tokens",
                 "Tokens of the answer to a request that has ended.", generation_length_.Collect());
}

}  // namespace ebb::server
