// RequestMetrics: what is counted where requests are served.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "engine/request.h"
#include "prometheus/counter.h"
#include "prometheus/histogram.h"
#include "server/metrics/families.h"

namespace ebb::server {

// When a request's tokens came. It belongs to the request's call, and is used by one thread at a
// time, as the engine's sink is.
struct RequestTimes {
  RequestTimes(absl::Time now, int32_t answers)
      : received(now), last_tokens(static_cast<size_t>(answers), absl::InfinitePast()) {}

  absl::Time received;                  // When the call began.
  bool any_token = false;               // Of any answer.
  std::vector<absl::Time> last_tokens;  // By answer; in the infinite past: none yet.
};

// How an accepted request ended.
enum class Outcome { kStop, kLength, kCancelled, kDeadline, kShutdown, kMemory, kError };
Outcome OutcomeOf(const engine::Finish& finish);

// What a tenant has used up: see server/quotas.h.
enum class Quota { kRequests, kTokens, kConcurrent };

// Thread-safe.
class RequestMetrics {
 public:
  RequestMetrics();

  // The engine has taken the request.
  void OnAccepted(int64_t prompt_tokens);
  void OnToken(RequestTimes* times, int32_t answer, absl::Time now);
  void OnAnswerFinish(const engine::Finish& finish);
  void OnFinish(const RequestTimes& times, const engine::Finish& finish, absl::Time now);

  // A request was refused because its tenant has used this up.
  void OnOverQuota(Quota quota) { over_quota_[static_cast<size_t>(quota)].Increment(); }

  void Collect(Families* out) const;

 private:
  static constexpr size_t kOutcomes = static_cast<size_t>(Outcome::kError) + 1;

  static constexpr size_t kQuotas = static_cast<size_t>(Quota::kConcurrent) + 1;

  prometheus::Counter accepted_;
  prometheus::Counter prompt_tokens_;
  prometheus::Counter finished_[kOutcomes];
  prometheus::Counter over_quota_[kQuotas];
  prometheus::Histogram first_token_;
  prometheus::Histogram inter_token_;
  prometheus::Histogram per_output_token_;
  prometheus::Histogram duration_;
  prometheus::Histogram queue_;
  prometheus::Histogram prefill_;
  prometheus::Histogram decode_;
  prometheus::Histogram inference_;
  prometheus::Histogram prompt_length_;
  prometheus::Histogram generation_length_;
};

}  // namespace ebb::server
