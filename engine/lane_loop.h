// LaneLoop: runs what executes in one lane, step after step.
//
//   a step =  one token for each decoding sequence of the lane
//             + a chunk of its prompts, and of what preempted sequences must recompute
//
// With separate queues a lane has only the one or the other (see lanes.h).
//
// Driven by one thread at a time: EngineThreads, or a test by hand.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "engine/core.h"
#include "engine/lane_step.h"
#include "engine/relief.h"
#include "engine/windows.h"

namespace ebb::engine {

class LaneLoop {
 public:
  LaneLoop(EngineCore* core, Windows* windows, Relief* relief, Lane which)
      : core_(core), windows_(windows), relief_(relief), which_(which) {}

  // Reap, Plan, Submit.
  Pass RunOnce();

 private:
  // What executes in the lane, in order.
  struct Set {
    std::vector<Sequence*> prompts;
    std::vector<Sequence*> decoding;
    std::vector<Sequence*> kept;  // They wait for blocks to be swapped back into.
    bool empty() const { return prompts.empty() && decoding.empty() && kept.empty(); }
  };
  Set Executing() const;
  Batch Plan(absl::Time now, Outbox* outbox, Pass* pass);
  absl::Time NextStart(const std::vector<Sequence*>& decoding) const;
  Batch FormBatch(const Set& set, absl::Time now);
  std::vector<int32_t> PlanChunk(const Set& set);
  std::vector<PromptView> ViewPrompts(const Set& set);
  bool WorkspaceIsReady(const Set& set, const std::vector<int32_t>& counts);
  bool IsStarved(const Set& set, const Batch& batch) const;
  bool NothingInFlight() const;
  absl::Time NextRun(absl::Time now) const;

  EngineCore* const core_;
  Windows* const windows_;
  Relief* const relief_;
  const Lane which_;
};

}  // namespace ebb::engine
