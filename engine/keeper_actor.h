// KeeperActor: memory's PageKeeper as one of the engine's actors: it wakes the loops after each
// page that changed, logs refusals, and sees to it that a lowered limit is reached in time.
//
// Driven by one thread at a time: EngineThreads, or a test by hand.
#pragma once

#include "absl/status/status.h"
#include "engine/core.h"
#include "engine/relief.h"
#include "engine/sharing_actor.h"
#include "memory/page_keeper.h"

namespace ebb::engine {

class KeeperActor {
 public:
  KeeperActor(EngineCore* core, Relief* relief);

  Pass RunOnce();

  // Gives all memory back. REQUIRES: every request has ended, no step is in flight.
  absl::Status Shutdown();

 private:
  EngineCore* const core_;
  SharingActor sharing_;
  Relief* const relief_;
  memory::PageKeeper keeper_;
};

}  // namespace ebb::engine
