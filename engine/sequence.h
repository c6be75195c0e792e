// Sequence: one request on its way through the engine, with its block table.
//
//               admitted              prompt done
//   waiting ──────────────> prefilling ──────────> decoding
//                           ^       │                 │
//                   resumed │       v                 │        any of them ──> finished
//                          preempted <────────────────┘
//
// A preempted sequence keeps its tokens and gives its blocks back; resuming recomputes them by
// prefill and goes on with the same tokens.
//
// Owned by EngineCore and guarded by its mutex. While in_step is set a submitted step works for it:
// then only the loop that submitted the step may change it.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "engine/request.h"
#include "memory/block_table.h"

namespace ebb::engine {

enum class SequenceState { kWaiting, kPrefilling, kDecoding, kPreempted, kFinished };

// The one order over unfinished requests: priority with ageing, then arrival.
//
// A request gains one level for each `ageing` that it has waited, so at any time a goes before b
// when a.priority - waited_a / ageing < b.priority - waited_b / ageing. All age at the same pace,
// so the comparison never changes: it is that of priority * ageing + arrival. Hence the key is
// fixed at arrival, and only finitely many later requests can go before any request.
struct OrderKey {
  absl::Time due;
  RequestId id = 0;

  friend bool operator<(const OrderKey& a, const OrderKey& b) {
    return a.due != b.due ? a.due < b.due : a.id < b.id;
  }
};

struct Sequence {
  Sequence(RequestId id, Request new_request, std::shared_ptr<RequestSink> new_sink, absl::Time now,
           absl::Duration ageing, memory::BlockTable new_table);

  // ---- state

  SequenceState state() const { return state_; }
  // CHECKs that the picture above has this edge.
  void MoveTo(SequenceState to);
  // Prefilling or decoding: it may hold blocks.
  bool running() const {
    return state_ == SequenceState::kPrefilling || state_ == SequenceState::kDecoding;
  }

  // It gives its blocks back as soon as it is in no step.
  bool leaving() const { return yields || forced_out; }

  // ---- counts

  int32_t prompt_tokens() const { return static_cast<int32_t>(request.prompt.size()); }
  int32_t generated_tokens() const { return static_cast<int32_t>(tokens.size()) - prompt_tokens(); }
  int32_t remaining_tokens() const { return static_cast<int32_t>(tokens.size()) - computed_tokens; }
  // Tokens that it may still generate.
  int32_t may_make_tokens(int32_t context_tokens_max) const;
  // Tokens whose keys and values it holds when it ends at its own bound: the last token generated
  // is never stored.
  int64_t stored_tokens_max(int32_t context_tokens_max) const;
  // Prompt log-probabilities are wanted and not yet handed to the sink.
  bool wants_prompt_logprobs() const {
    return request.sampling.prompt_logprobs >= 0 && !prompt_logprobs_sent;
  }

  // Ids that may not be chosen for the next token.
  std::vector<int32_t> BannedIds(const std::vector<int32_t>& end_ids) const;
  // Whether this id ends the answer.
  bool IsStop(int32_t id, const std::vector<int32_t>& end_ids) const;

  const RequestId id;
  const Request request;
  const std::shared_ptr<RequestSink> sink;
  const OrderKey key;

  std::vector<int32_t> tokens;  // The prompt and what was generated.
  int32_t computed_tokens = 0;  // The first so many have keys and values in the table's blocks.
  memory::BlockTable table;
  bool in_step = false;
  bool cancelled = false;
  bool yields = false;      // Is preempted when its step is reaped.
  bool forced_out = false;  // Needs more than a forced memory limit: it ends.

  std::vector<PromptLogprob> prompt_logprobs;
  bool prompt_logprobs_sent = false;

  int32_t preemptions = 0;
  int32_t made_since_resume = 0;
  const absl::Time arrived;
  absl::Time admitted = absl::InfiniteFuture();     // It last began to run.
  absl::Time started = absl::InfiniteFuture();      // The first step was submitted.
  absl::Time first_token = absl::InfiniteFuture();  // The first token was there.

 private:
  SequenceState state_ = SequenceState::kWaiting;
};

}  // namespace ebb::engine
