// Relief: brings held memory under a lowered limit while requests run, by the call's deadline.
//
//   Begin    the limit counts at once ── Act: moving does? the next step carries the moves
//                                         |   else plan who gives way ┬ in no step: preempted now
//                                         v                           └ in a step: yields, and is
//            windows planned anew, emptied pages drain                  preempted when reaped
//             └── keeper unmaps ── Answer
//
//   Hurry    a step that would keep memory from going until too late is abandoned, where the step
//            runner can; never twice in a row, so that every lane gets on.
//
// The loops call Act whenever they plan, the keeper after each pass, with Hurry; while somebody
// yields in the other lane neither starts a step, or that step would in turn keep pages from being
// unmapped.
//
// Owned by LocalEngine, guarded by EngineCore::mutex.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/core.h"
#include "engine/engine.h"
#include "engine/victims.h"
#include "engine/windows.h"

namespace ebb::engine {

class Relief {
 public:
  static constexpr absl::Duration kHandOverTime = absl::Milliseconds(100);

  // What a call of SetMemoryLimit has to know when it is answered.
  struct Call {
    absl::Time begun;
    absl::Time deadline;
    bool stale = false;
    int64_t held_before_bytes = 0;
    int64_t preemptions_before = 0;
    int64_t ended_before = 0;
    int64_t unmapped_before = 0;
  };

  Relief(EngineCore* core, Windows* windows) : core_(core), windows_(windows) {}

  // Puts the limit into force, unless the revision is stale, and acts on it.
  Call Begin(const LimitChange& change, absl::Time now, Outbox* outbox);
  // Whether the call needs wait no longer.
  bool IsDone(const Call& call, absl::Time now) const;
  LimitAnswer Answer(const Call& call, absl::Time now) const;

  // Another server waits for memory that is held here beyond what the ledger lets us keep: it goes
  // as under a lowered limit with a deadline of kHandOverTime.
  void Press(absl::Time now);

  // While more is held than the limit allows: preempts, plans windows anew, drains. Cheap
  // otherwise.
  void Act(absl::Time now, Outbox* outbox);
  // Whether a lane that is free must not start a step yet.
  bool Holds() const;
  // Abandons steps that stand in the way for too long. Returns when to look again.
  absl::Time Hurry(absl::Time now);

 private:
  int64_t WorkspaceBytesWithout(const std::vector<Sequence*>& gone) const;
  memory::ReleaseNeed NeedBeside(int64_t workspace_bytes) const;
  bool MovingDoes(absl::Time now);
  Victims Choose() const;
  void GiveWay(Sequence* sequence);
  void ForceOut(absl::Time now, Outbox* outbox);
  void EndFirst(absl::Time now, Outbox* outbox);
  bool NothingMoves() const;
  // The first running request, and whether it fits under the limit alone, its blocks packed.
  Sequence* First() const;
  int64_t NeedAlone(const Sequence& sequence) const;
  bool StandsInTheWay(Lane which) const;

  EngineCore* const core_;
  Windows* const windows_;
  LimitChange change_;  // The last that counted.
  absl::Time deadline_ = absl::InfinitePast();
  absl::Duration span_;                 // The deadline came so long after the call.
  std::optional<absl::Time> moves_by_;  // Nobody gives way before, since moving blocks may do.
  uint64_t revision_ = 0;
  int64_t ended_total_ = 0;
  int64_t gone_seen_ = 0;  // Preemptions and ends when windows were last planned anew.
};

}  // namespace ebb::engine
