// SharingActor: what the engine tells the ledger between servers, and what it does with the answer.
//
//   waiting and running requests ──> wanted ──> memory::Sharing ──> lease, keep ──> KvMemory
//
// Part of the keeper's pass: it runs outside the mutex, at least every kLedgerPollTime while there
// is work, and before each growth, since a request's arrival and each boundary wake the keeper.
#pragma once

#include "absl/time/time.h"
#include "engine/block_census.h"
#include "engine/core.h"
#include "memory/sharing.h"

namespace ebb::engine {

// Driven by the keeper's thread.
class SharingActor {
 public:
  // Until the first Renew nothing may grow. Without parts.sharing it does nothing.
  explicit SharingActor(EngineCore* core);

  struct Pass {
    bool changed = false;  // Planners should look.
    bool owes = false;     // More is held than may be kept: another server waits for it.
    absl::Time next_run = absl::InfiniteFuture();
  };
  // REQUIRES: the mutex is not held.
  Pass Renew();

 private:
  memory::LedgerSeat::Needs NeedsLocked() const;
  void AddFirst(memory::LedgerSeat::Needs* needs) const;

  int64_t ExpectedTokens(const Sequence& sequence) const;
  int64_t ExpectedBlocks(const Sequence& sequence, const BlockCensus::Part& part) const;
  int64_t CommittedBytes() const;

  absl::Time pressed_since_ = absl::InfiniteFuture();  // Others lack what we have above our share.
  EngineCore* const core_;
};

}  // namespace ebb::engine
