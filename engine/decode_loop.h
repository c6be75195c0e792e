// DecodeLoop: one token for each decoding sequence in each step.
//
// Driven by one thread at a time: EngineThreads, or a test by hand.
#pragma once

#include <vector>

#include "absl/time/time.h"
#include "engine/core.h"
#include "engine/lane_step.h"
#include "engine/relief.h"
#include "engine/windows.h"

namespace ebb::engine {

class DecodeLoop {
 public:
  DecodeLoop(EngineCore* core, Windows* windows, Relief* relief)
      : core_(core), windows_(windows), relief_(relief) {}

  // Reap, Plan, Submit.
  Pass RunOnce();

 private:
  Batch Plan(absl::Time now, Outbox* outbox, Pass* pass);
  absl::Time NextStart(const std::vector<Sequence*>& decoding) const;
  Batch FormBatch(const std::vector<Sequence*>& decoding, absl::Time now);
  bool WorkspaceIsReady(int32_t sequence_count);
  absl::Time NextRun(absl::Time now) const;

  EngineCore* const core_;
  Windows* const windows_;
  Relief* const relief_;
};

}  // namespace ebb::engine
