// SwapActor: copies what Swaps says, piece by piece, and adds and drops the swap space's chunks.
//
//   RunOnce:  Reap (the piece that is done)  Plan (the next, or a chunk)  Submit
//
// Driven by one thread at a time: EngineThreads, or a test by hand.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "engine/core.h"
#include "engine/kv_swapper.h"
#include "engine/windows.h"

namespace ebb::engine {

class SwapActor {
 public:
  // REQUIRES: core->swaps().on(). The swapper is the core's parts'.
  SwapActor(EngineCore* core, Windows* windows);

  Pass RunOnce();

 private:
  bool Reap(Outbox* outbox);
  void Settle(const SwapResult& result, absl::Time now, Outbox* outbox);
  void SettleOut(Sequence* sequence, bool copied);
  void SettleIn(Sequence* sequence, bool copied, absl::Time now);
  void AddChunk(int32_t chunk, int64_t bytes, Outbox* outbox);
  void LogFailure(const char* what, const absl::Status& status, Outbox* outbox) const;

  EngineCore* const core_;
  Windows* const windows_;
  KvSwapper* const swapper_;
  const memory::Readers::Id reader_;
  // The piece in flight; the sequence's in_step is set. Guarded by the core's mutex.
  Sequence* copying_ = nullptr;
  SwapPiece piece_;
  uint64_t ticket_ = 0;
};

}  // namespace ebb::engine
