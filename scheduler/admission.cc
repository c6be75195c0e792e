#include "scheduler/admission.h"

#include <algorithm>
#include <numeric>

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

// The end of the waiting ones from `first` on whose turn comes within `ahead` of its.
size_t EndOfEquals(const std::vector<engine::DemandView>& order, size_t first,
                   absl::Duration ahead) {
  size_t end = first + 1;
  while (end < order.size() && !order[end].running &&
         order[end].place <= order[first].place + ahead) {
    ++end;
  }
  return end;
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
  const auto try_admit = [&](size_t index) {
    const engine::DemandView& view = input.order[index];
    if (running + view.sequences > limits.running_sequences_max) return false;
    memory::DemandCurve with = counted;
    with.Add(view.demand);
    if (with.Peak(limits.deviations) > static_cast<double>(input.capacity_blocks)) return false;
    counted = with;
    running += view.sequences;
    admitted.push_back(index);
    return true;
  };
  for (size_t i = 0; i < input.order.size();) {
    const engine::DemandView& view = input.order[i];
    if (view.running) {
      if (!view.immune) counted.Add(view.demand);
      ++i;
      continue;
    }
    std::vector<size_t> equals(EndOfEquals(input.order, i, limits.resident_ahead) - i);
    std::iota(equals.begin(), equals.end(), i);
    std::stable_sort(equals.begin(), equals.end(), [&](size_t a, size_t b) {
      return input.order[a].resident_tokens > input.order[b].resident_tokens;
    });
    for (const size_t index : equals) {
      // Whoever came first need not wait for one behind it that does not fit.
      if (!try_admit(index) && index == i) return admitted;
    }
    i += equals.size();
  }
  return admitted;
}

}  // namespace ebb::scheduler
