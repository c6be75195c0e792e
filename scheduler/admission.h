// Admission: which requests are taken in, and which of the waiting ones start. Pure functions.
#pragma once

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/step_policy.h"

namespace ebb::scheduler {

struct AdmissionLimits {
  int64_t queue_requests_max = 0;
  int64_t queue_prompt_tokens_max = 0;  // 0: no bound.
  int64_t running_sequences_max = 0;
  // Room is kept for so many standard deviations above the mean of what will be held.
  double deviations = 1.5;
  // Of those that wait, one whose prompt's beginning is resident may start before another whose
  // turn comes no more than so much earlier.
  absl::Duration resident_ahead = absl::ZeroDuration();
};

// RESOURCE_EXHAUSTED when the queue is full (with base::RetryAfterSeconds) or prompt and max_tokens
// together need more blocks than the memory limit has; INVALID_ARGUMENT when the prompt leaves no
// room in the model's context.
absl::Status Accept(const AdmissionLimits& limits, const engine::ArrivalView& arrival);

// Indices into input.order of those that start or resume now.
//
// The walk goes down the one order. A running request counts with what it will hold, window by
// window; so does one that starts. A waiting one starts if, with it, those counted so far and those
// further down that may not be preempted are likely to fit in every window ahead. The walk
// ends at the first that does not fit: nobody overtakes it, so it starts as soon as those before it
// have ended, however large it is. Preempted requests stand in the same order, so they resume
// before anything that came later starts.
//
// But of those that wait one behind the other, whose turns come within `resident_ahead`, one of
// whose prompt more is there may start first, once. So anybody is overtaken only finitely often.
std::vector<size_t> Admit(const AdmissionLimits& limits, const engine::AdmissionInput& input);

}  // namespace ebb::scheduler
