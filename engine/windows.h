// Windows: opens and closes the queues' memory windows, and makes room when one does not fit.
//
//   boundary of a queue:  plan (memory's WindowManager) -> fits? open it
//                                                       -> else release: preempt, plan again
//
// Only memory of sequences behind others in the one order is released. Decode's boundary may
// preempt any sequence without a step in flight; prefill's only when nothing is decoding, since a
// decoding sequence loses memory at its own boundaries alone. A boundary of the one queue is both.
//
// Owned by LocalEngine, guarded by EngineCore::mutex.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "engine/block_census.h"
#include "engine/core.h"
#include "engine/victims.h"
#include "memory/demand_curve.h"
#include "memory/window_manager.h"

namespace ebb::engine {

class Windows {
 public:
  explicit Windows(EngineCore* core);

  // Whether the queue is at a boundary. REQUIRES: no step of the lane is in flight.
  bool IsDue(Lane which, absl::Time now) const;
  // A boundary: where prompts execute, some are admitted; then the window for what executes is
  // planned, paid for and opened; with nothing to execute the window closes.
  void Boundary(Lane which, absl::Time now, Outbox* outbox);
  // When IsDue could change by time alone.
  absl::Time NextDue(Lane which) const;

  // Raises the account's demand inside its window so that `blocks` more can be taken, and takes
  // them into the grant as far as blocks are there.
  void Supplement(Lane which, int64_t blocks);

  // Closes the queue's window if nothing executes, and opens it anew in the place of one that was
  // planned under another limit, or `always`; a step may be in flight.
  void Replan(Lane which, bool always, absl::Time now, Outbox* outbox);
  // The largest step that those of the sequences that belong to the lane may see.
  StepShape ShapeFor(Lane which, const std::vector<const Sequence*>& sequences) const;

  // Blocks that the sequence will grow by in its first decode window.
  int64_t FirstGrowthBlocks(const Sequence& sequence) const;

  // Ends waiting requests that the memory limit has no room for any more. When `stuck` (a lane has
  // work, cannot move, and nothing is in flight), also looks at the one that is left running.
  // True when something changed.
  bool GiveUpHopeless(bool stuck, absl::Time now, Outbox* outbox);

 private:
  const memory::WindowManager& ManagerOf(Lane which) const {
    return managers_[core_->lanes.index(which)];
  }
  bool TakesPrompts(Lane which) const {
    return core_->lanes.Executes(which, SequenceState::kPrefilling);
  }
  bool Decodes(Lane which) const { return core_->lanes.Executes(which, SequenceState::kDecoding); }
  bool RequestsWait() const;
  memory::WindowPlan Plan(Lane which, absl::Time now);
  memory::WindowProgress ProgressOf(Lane which, absl::Time now) const;
  void Admit(absl::Time now);
  int64_t WorkspaceBytesToAdmit() const;
  memory::DemandCurve DemandOf(const Sequence& sequence, const BlockCensus::Part& part,
                               int64_t limit_blocks) const;
  int64_t WorkspaceBytesOf(const Sequence& sequence) const;
  void SetWorkspaceDemand(Lane which);
  void SetFirstAccount();
  void Close(Lane which);
  void Open(Lane which, const memory::WindowPlan& plan, absl::Time now, Outbox* outbox);

  // Takes back what is left of the slack in the other queue's open window. True when there was any.
  bool ForgoSlackBeside(Lane which);
  // Preempts until the plan fits or nobody is left to give way; returns the last plan.
  memory::WindowPlan MakeRoom(Lane which, memory::WindowPlan plan, absl::Time now, Outbox* outbox);
  bool LacksWorkspace(const Sequence& sequence) const;
  bool YieldScattered();
  bool EndWithoutWorkspace(absl::Time now, Outbox* outbox);
  bool PrefillGoesFirst() const;

  EngineCore* const core_;
  std::vector<memory::WindowManager> managers_;  // By Lanes::index; never changed.
};

}  // namespace ebb::engine
