// Lanes: which lanes an engine has, and which sequences each executes.
//
//   queues   lane       executes                            loop
//   separate prefill    waiting, prefilling, preempted      chunks of prompts
//            decode     decoding                            a token for each
//   one      decode     all of them                         both, in the same steps
//
// A lane is a queue with its loop, window manager, account, workspace and stream. The one queue
// runs in decode's lane: on its stream, with its graphs, before all others.
#pragma once

#include <optional>

#include "absl/types/span.h"
#include "engine/options.h"
#include "engine/sequence.h"
#include "engine/step_runner.h"
#include "engine/wakeups.h"
#include "memory/accounts.h"
#include "memory/window_manager.h"

namespace ebb::engine {

// A value.
class Lanes {
 public:
  explicit Lanes(Queues queues) : queues_(queues) {}

  absl::Span<const Lane> all() const {
    static constexpr Lane kBoth[] = {Lane::kPrefill, Lane::kDecode};
    return absl::MakeConstSpan(kBoth).subspan(queues_ == Queues::kOne ? 1 : 0);
  }
  // The lane's place in all(), as in a list of workspaces. REQUIRES: it is one of them.
  int index(Lane lane) const { return queues_ == Queues::kOne ? 0 : static_cast<int>(lane); }
  bool one() const { return queues_ == Queues::kOne; }
  // What the lane's windows are called.
  memory::WindowQueue queue(Lane lane) const {
    if (one()) return memory::WindowQueue::kOne;
    return lane == Lane::kPrefill ? memory::WindowQueue::kPrefill : memory::WindowQueue::kDecode;
  }

  // The lane of the sequences in this state.
  Lane Of(SequenceState state) const {
    return one() || state == SequenceState::kDecoding ? Lane::kDecode : Lane::kPrefill;
  }
  bool Executes(Lane lane, SequenceState state) const { return Of(state) == lane; }
  // The other lane, if there is one.
  std::optional<Lane> Other(Lane lane) const {
    if (one()) return std::nullopt;
    return lane == Lane::kPrefill ? Lane::kDecode : Lane::kPrefill;
  }

 private:
  Queues queues_;
};

inline memory::AccountId AccountOf(Lane lane) {
  return lane == Lane::kPrefill ? memory::AccountId::kPrefill : memory::AccountId::kDecode;
}
inline Actor ActorOf(Lane lane) {
  return lane == Lane::kPrefill ? Actor::kPrefill : Actor::kDecode;
}

}  // namespace ebb::engine
