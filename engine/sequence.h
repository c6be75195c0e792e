// Sequence: one answer of a request on its way through the engine, with its block table.
//
//               admitted              prompt done
//   waiting ──────────────> prefilling ──────────> decoding <─── forked from another answer
//                           ^       │                 │
//                   resumed │       v                 │        any of them ──> finished
//                          preempted <────────────────┘
//
// A preempted sequence keeps its tokens and gives its blocks back; resuming recomputes them by
// prefill, or has them copied back from the swap space, and goes on with the same tokens.
//
// A request's first sequence prefills the prompt; when that is done the other answers fork from it
// (forks.h) as sequences that have all but the prompt's last token computed.
//
// Owned by EngineCore and guarded by its mutex. While in_step is set a submitted step, or a copy of
// its blocks, works for it: then only the actor that submitted that may change it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "engine/live_request.h"
#include "engine/request.h"
#include "memory/block_table.h"
#include "memory/prefix_cache.h"
#include "memory/prefix_chain.h"
#include "memory/swap_space.h"
#include "model/logit_adjustments.h"

namespace ebb::engine {

enum class SequenceState { kWaiting, kPrefilling, kDecoding, kPreempted, kFinished };

// Where its keys and values are, beside its blocks (swaps.h).
enum class SwapState { kNone, kLeaving, kKept, kReturning };
struct SwappedKv {
  SwapState state = SwapState::kNone;
  std::vector<memory::SlotId> slots;  // One for each block of `tokens` tokens.
  int32_t tokens = 0;
  int32_t blocks_done = 0;  // The first so many have been copied, out or in.
  bool stops = false;       // Leaving: to be recomputed once the piece in flight is done.
};

// The one order over unfinished requests: priority with ageing, then arrival (between tenants, the
// time at which it would have its turn: fair_share.h).
//
// A request gains one level for each `ageing` that it has waited, so at any time a goes before b
// when a.priority - waited_a / ageing < b.priority - waited_b / ageing. All age at the same pace,
// so the comparison never changes: it is that of priority * ageing + arrival. Hence the key is
// fixed at arrival, and only finitely many later requests can go before any request. The answers of
// a request stand one behind the other.
struct OrderKey {
  absl::Time due;
  RequestId id = 0;

  friend bool operator<(const OrderKey& a, const OrderKey& b) {
    return a.due != b.due ? a.due < b.due : a.id < b.id;
  }
};

// For each answer, those that the request asks for, as of its prompt; none when it asks for none.
// It takes time that grows with the prompt, so it is not for under the mutex.
std::vector<std::unique_ptr<model::LogitAdjustments>> AdjustmentsOf(const Request& request);

// What the prompt's blocks are known by. Those of one tenant that gave the same salt share them,
// where keys and values are computed alike (kv_identity). Not for under the mutex either.
memory::PrefixChain PrefixChainOf(const Request& request, absl::string_view kv_identity,
                                  int32_t block_tokens);

struct Sequence {
  Sequence(std::shared_ptr<LiveRequest> new_owner, int32_t new_answer, absl::Duration ageing,
           memory::BlockTable new_table);

  // ---- state

  SequenceState state() const { return state_; }
  // CHECKs that the picture above has this edge.
  void MoveTo(SequenceState to);
  // Prefilling or decoding: it may hold blocks.
  bool running() const {
    return state_ == SequenceState::kPrefilling || state_ == SequenceState::kDecoding;
  }

  // It gives its blocks back as soon as it is in no step.
  bool leaving() const { return yields || owner->forced_out || swap.state == SwapState::kLeaving; }
  // Its blocks are being copied, or wait for it: it takes no part in steps.
  bool copying() const {
    return swap.state == SwapState::kLeaving || swap.state == SwapState::kReturning;
  }

  // ---- counts

  int32_t prompt_tokens() const { return static_cast<int32_t>(request.prompt.size()); }
  int32_t generated_tokens() const { return static_cast<int32_t>(tokens.size()) - prompt_tokens(); }
  // Tokens whose keys and values need not be computed.
  int32_t stored_tokens() const {
    return swap.state == SwapState::kKept ? std::max(swap.tokens, computed_tokens)
                                          : computed_tokens;
  }
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

  // The answers that fork from it when its prompt is done, with its own.
  int32_t answers() const { return 1 + owner->unforked_answers; }

  // The table's first so many blocks may be in other tables too.
  int64_t maybe_shared_blocks() const { return std::max(forked_blocks, place.blocks); }

  // The answer has one more token.
  void Append(int32_t token_id);
  // Ids that may not be chosen for the next token.
  std::vector<int32_t> BannedIds(const std::vector<int32_t>& end_ids) const;
  // Whether this id ends the answer.
  bool IsStop(int32_t id, const std::vector<int32_t>& end_ids) const;

  const std::shared_ptr<LiveRequest> owner;
  const Request& request;  // The owner's.
  const int32_t answer;
  const RequestId id;  // The request's, plus the answer's index: a request takes one for each.
  const OrderKey key;

  std::vector<int32_t> tokens;  // The prompt and what was generated.
  // Follows the tokens; null when nothing asks for any.
  const std::unique_ptr<model::LogitAdjustments> adjustments;
  int32_t computed_tokens = 0;  // The first so many have keys and values in the table's blocks.
  int32_t recompute_until = 0;  // The first so many had them before a preemption.
  memory::BlockTable table;
  int64_t forked_blocks = 0;  // The table's first so many may be in those of other answers too.
  // What its blocks are known by, as of the tokens that it has followed; none without a cache.
  std::optional<memory::PrefixChain> chain;
  memory::PrefixPlace place;  // How far they are in the prefix cache.
  bool in_step = false;
  bool yields = false;  // Is preempted when its step is reaped.
  SwappedKv swap;

  std::vector<PromptLogprob> prompt_logprobs;
  bool prompt_logprobs_sent = false;

  int32_t cached_tokens = 0;  // Of the prompt, found in the cache when it first ran.
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
