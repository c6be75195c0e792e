// LiveRequest: a request on its way through the engine, and what its answers have in common.
//
//                          prompt ──────────────┬─> answer 0      one sequence until the prompt is
//   Submit ──> sequence 0  (prefilled once)     ├─> answer 1      done, then one for each answer
//                                               └─> answer 2
//
// Shared by its sequences and by the endings that are still to be told.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "engine/request.h"
#include "memory/prefix_chain.h"
#include "model/logit_adjustments.h"

namespace ebb::engine {

// How a request ends before its time.
struct EarlyEnd {
  FinishReason reason = FinishReason::kCancelled;
  absl::Status status;
};

struct LiveRequest {
  LiveRequest(RequestId new_id, Request new_request, std::shared_ptr<RequestSink> new_sink,
              absl::Time now, absl::Time new_place)
      : id(new_id),
        request(std::move(new_request)),
        sink(std::move(new_sink)),
        arrived(now),
        place(new_place),
        unforked_answers(request.n - 1),
        unfinished_answers(request.n),
        untold_answers(request.n) {}

  const RequestId id;
  const Request request;
  const std::shared_ptr<RequestSink> sink;
  const absl::Time arrived;
  const absl::Time place;  // When its turn would be: its arrival, or by its tenant's share.

  // ---- guarded by EngineCore::mutex

  int32_t unforked_answers;  // They have no sequence yet.
  // AdjustmentsOf(request): each is its sequence's once there is one.
  std::vector<std::unique_ptr<model::LogitAdjustments>> adjustments;
  std::optional<memory::PrefixChain> chain;  // The prompt's, until the first sequence has it.
  int32_t unfinished_answers;                // Those without a sequence too.
  bool cancelled = false;
  bool forced_out = false;  // Needs more than a forced memory limit: it ends.
  // An answer failed: the others end like it.
  std::optional<EarlyEnd> failed;

  // ---- telling the sink: from the threads of all lanes, one call at a time

  base::Mutex telling;
  int32_t untold_answers ABSL_GUARDED_BY(telling);  // Whose end the sink does not know.
  Finish total ABSL_GUARDED_BY(telling);            // Of the answers that it knows to have ended.
};

// Adds an answer's end to the request's: counts add up; reason and stop id are those of the first
// answer, or of the first that failed.
inline void AddAnswer(int32_t answer, const Finish& finish, bool first_told, Finish* total) {
  if (first_told) {
    *total = finish;
    return;
  }
  total->completion_tokens += finish.completion_tokens;
  total->cached_tokens = std::max(total->cached_tokens, finish.cached_tokens);
  total->preemptions += finish.preemptions;
  total->queue_time = std::min(total->queue_time, finish.queue_time);
  total->first_token_time = std::min(total->first_token_time, finish.first_token_time);
  total->total_time = std::max(total->total_time, finish.total_time);
  const bool counts = total->status.ok() && (answer == 0 || !finish.status.ok());
  if (!counts) return;
  total->reason = finish.reason;
  total->status = finish.status;
  total->stop_token_id = finish.stop_token_id;
}

}  // namespace ebb::engine
