#include "engine/sequence.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace ebb::engine {
namespace {

bool Contains(const std::vector<int32_t>& ids, int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

bool IsEdge(SequenceState from, SequenceState to) {
  switch (from) {
    case SequenceState::kWaiting:
      return to != SequenceState::kWaiting && to != SequenceState::kPreempted;
    case SequenceState::kPreempted:
      return to == SequenceState::kPrefilling || to == SequenceState::kFinished;
    case SequenceState::kPrefilling:
      return to == SequenceState::kDecoding || to == SequenceState::kPreempted ||
             to == SequenceState::kFinished;
    case SequenceState::kDecoding:
      return to == SequenceState::kPreempted || to == SequenceState::kFinished;
    case SequenceState::kFinished:
      return false;
  }
  return false;
}

}  // namespace

std::vector<std::unique_ptr<model::LogitAdjustments>> AdjustmentsOf(const Request& request) {
  const std::vector<LogitBias>& biases = request.rules.logit_bias;
  if (!model::LogitAdjustments::Needed(request.sampling, biases)) return {};
  std::vector<std::unique_ptr<model::LogitAdjustments>> each;
  each.reserve(static_cast<size_t>(request.n));
  for (int32_t answer = 0; answer < request.n; ++answer) {
    each.push_back(
        std::make_unique<model::LogitAdjustments>(request.sampling, biases, request.prompt));
  }
  return each;
}

memory::PrefixChain PrefixChainOf(const Request& request, absl::string_view kv_identity,
                                  int32_t block_tokens) {
  // Lengths keep one part from running into the next.
  memory::PrefixChain chain(
      absl::StrCat(kv_identity.size(), ":", kv_identity, request.tenant.size(), ":", request.tenant,
                   request.cache_salt),
      block_tokens);
  chain.Follow(request.prompt);
  return chain;
}

Sequence::Sequence(std::shared_ptr<LiveRequest> new_owner, int32_t new_answer,
                   absl::Duration ageing, memory::BlockTable new_table)
    : owner(std::move(new_owner)),
      request(owner->request),
      answer(new_answer),
      id(owner->id + static_cast<RequestId>(new_answer)),
      key{owner->place + request.priority * ageing, id},
      tokens(request.prompt),
      adjustments(owner->adjustments.empty()
                      ? nullptr
                      : std::move(owner->adjustments[static_cast<size_t>(answer)])),
      table(std::move(new_table)),
      chain(std::exchange(owner->chain, std::nullopt)),
      arrived(owner->arrived) {}

void Sequence::MoveTo(SequenceState to) {
  CHECK(IsEdge(state_, to)) << "request " << id << ": state " << static_cast<int>(state_) << " to "
                            << static_cast<int>(to);
  state_ = to;
}

int32_t Sequence::may_make_tokens(int32_t context_tokens_max) const {
  const int32_t by_request = request.stopping.max_tokens - generated_tokens();
  const int32_t by_context = context_tokens_max - static_cast<int32_t>(tokens.size());
  return std::max(0, std::min(by_request, by_context));
}

int64_t Sequence::stored_tokens_max(int32_t context_tokens_max) const {
  return static_cast<int64_t>(tokens.size()) + may_make_tokens(context_tokens_max) - 1;
}

void Sequence::Append(int32_t token_id) {
  tokens.push_back(token_id);
  if (adjustments != nullptr) adjustments->Add(token_id);
}

std::vector<int32_t> Sequence::BannedIds(const std::vector<int32_t>& end_ids) const {
  const StoppingParams& stopping = request.stopping;
  std::vector<int32_t> banned;
  if (generated_tokens() < stopping.min_tokens) {
    banned = stopping.stop_token_ids;
    if (!stopping.ignore_eos) banned.insert(banned.end(), end_ids.begin(), end_ids.end());
  }
  for (const std::vector<int32_t>& word : request.rules.bad_words) {
    const auto begun = static_cast<int32_t>(word.size()) - 1;
    if (begun <= generated_tokens() &&
        std::equal(word.begin(), word.end() - 1, tokens.end() - begun)) {
      banned.push_back(word.back());
    }
  }
  return banned;
}

bool Sequence::IsStop(int32_t token_id, const std::vector<int32_t>& end_ids) const {
  const StoppingParams& stopping = request.stopping;
  return Contains(stopping.stop_token_ids, token_id) ||
         (!stopping.ignore_eos && Contains(end_ids, token_id));
}

}  // namespace ebb::engine
