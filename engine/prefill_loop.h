// PrefillLoop: runs prompts, and what preempted sequences must recompute, in chunks.
//
// Driven by one thread at a time: EngineThreads, or a test by hand.
#pragma once

#include "absl/time/time.h"
#include "engine/core.h"
#include "engine/lane_step.h"
#include "engine/relief.h"
#include "engine/windows.h"

namespace ebb::engine {

class PrefillLoop {
 public:
  PrefillLoop(EngineCore* core, Windows* windows, Relief* relief)
      : core_(core), windows_(windows), relief_(relief) {}

  // Reap, Plan, Submit.
  Pass RunOnce();

 private:
  Batch Plan(absl::Time now, Outbox* outbox, bool* progressed);
  Batch FormBatch(absl::Time now);
  std::vector<PromptView> ViewPrompts(const std::vector<Sequence*>& prompts);
  bool WorkspaceIsReady(const std::vector<Sequence*>& prompts, const std::vector<int32_t>& counts);
  absl::Time NextRun(absl::Time now) const;

  EngineCore* const core_;
  Windows* const windows_;
  Relief* const relief_;
};

}  // namespace ebb::engine
