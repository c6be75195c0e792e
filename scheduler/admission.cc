#include "scheduler/admission.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/retry_after.h"

namespace ebb::scheduler {

absl::Status Accept(const AdmissionLimits& limits, const engine::ArrivalView& arrival) {
  if (arrival.prompt_tokens >= arrival.context_tokens_max) {
    return absl::InvalidArgumentError(
        absl::StrCat("the prompt has ", arrival.prompt_tokens, " tokens; the model's context of ",
                     arrival.context_tokens_max, " has room for ", arrival.context_tokens_max - 1,
                     " and one answer token: send a shorter prompt"));
  }
  // Generation stops where the context ends, and the last token is never stored.
  const int64_t tokens =
      std::min(arrival.prompt_tokens + arrival.max_tokens, arrival.context_tokens_max);
  const int64_t blocks = (tokens + arrival.block_tokens - 1) / arrival.block_tokens;
  if (blocks > arrival.limit_blocks) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "prompt and max_tokens together are ", tokens, " tokens; the memory limit has room for ",
        arrival.limit_blocks * arrival.block_tokens, ": lower max_tokens or raise the limit"));
  }
  if (arrival.waiting_requests >= limits.queue_requests_max) {
    return base::WithRetryAfter(
        absl::ResourceExhaustedError(absl::StrCat("the queue is full: ", arrival.waiting_requests,
                                                  " requests wait, and at most ",
                                                  limits.queue_requests_max, " may")),
        arrival.retry_after());
  }
  // A prompt longer than the bound waits alone.
  if (limits.queue_prompt_tokens_max > 0 && arrival.waiting_requests > 0 &&
      arrival.waiting_prompt_tokens + arrival.prompt_tokens > limits.queue_prompt_tokens_max) {
    return base::WithRetryAfter(
        absl::ResourceExhaustedError(
            absl::StrCat("the queue is full: ", arrival.waiting_prompt_tokens,
                         " prompt tokens wait; with this prompt's ", arrival.prompt_tokens,
                         " it would be above ", limits.queue_prompt_tokens_max)),
        arrival.retry_after());
  }
  return absl::OkStatus();
}

namespace {

// Those behind the waiting `first` that may start before it: of more of their prompts is there, and
// their turns come within `ahead` of its. Those first of which most is there.
std::vector<size_t> Overtakers(const std::vector<engine::DemandView>& order, size_t first,
                               absl::Duration ahead) {
  std::vector<size_t> found;
  for (size_t i = first + 1; i < order.size(); ++i) {
    if (order[i].running || order[i].place > order[first].place + ahead) break;
    if (order[i].resident_tokens > order[first].resident_tokens) found.push_back(i);
  }
  std::stable_sort(found.begin(), found.end(), [&](size_t a, size_t b) {
    return order[a].resident_tokens > order[b].resident_tokens;
  });
  return found;
}

}  // namespace

std::vector<size_t> Admit(const AdmissionLimits& limits, const engine::AdmissionInput& input) {
  memory::DemandCurve counted;  // Those above, and the immune ones below.
  int64_t running = 0;
  for (const engine::DemandView& view : input.order) {
    if (!view.running) continue;
    running += view.sequences;
    if (view.immune) counted.Add(view.demand);
  }
  std::vector<size_t> admitted;
  std::vector<bool> is_admitted(input.order.size(), false);
  const auto try_admit = [&](size_t index) {
    const engine::DemandView& view = input.order[index];
    if (running + view.sequences > limits.running_sequences_max) return false;
    memory::DemandCurve with = counted;
    with.Add(view.demand);
    if (with.Peak(limits.deviations) > static_cast<double>(input.capacity_blocks)) return false;
    counted = with;
    running += view.sequences;
    admitted.push_back(index);
    is_admitted[index] = true;
    return true;
  };
  for (size_t i = 0; i < input.order.size(); ++i) {
    const engine::DemandView& view = input.order[i];
    if (view.running) {
      if (!view.immune) counted.Add(view.demand);
      continue;
    }
    if (is_admitted[i]) continue;
    for (const size_t index : Overtakers(input.order, i, limits.resident_ahead)) {
      // Whoever came first need not wait for one behind it that does not fit.
      if (!is_admitted[index]) (void)try_admit(index);
    }
    if (!try_admit(i)) break;
  }
  return admitted;
}

}  // namespace ebb::scheduler
