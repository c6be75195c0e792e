// KvSwapper: runs a KvCopier's copies on a stream of their own, beside the steps.
//
//   SwapActor ──Submit(piece)──> stream: copier.CopyOut or CopyIn
//             <──TakeResult()──          on_done: "look again"
//
// At most one piece is in flight.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "device/stream.h"
#include "engine/kv_copier.h"

namespace ebb::engine {

struct SwapPiece {
  bool out = false;  // From blocks to slots, else back.
  std::vector<SlotCopy> copies;
};

struct SwapResult {
  absl::Status status;
  absl::Duration took;
};

// Used by one thread at a time, beside the stream's. All pointers outlive it; the destructor waits
// for what was submitted.
class KvSwapper {
 public:
  KvSwapper(KvCopier* copier, device::Stream* stream, const base::Clock* clock)
      : copier_(copier), stream_(stream), clock_(clock) {}
  ~KvSwapper() { WaitIdle(); }
  KvSwapper(const KvSwapper&) = delete;
  KvSwapper& operator=(const KvSwapper&) = delete;

  // Called each time a piece has completed, from any thread. Set once, before the first Submit.
  void SetOnDone(std::function<void()> on_done) { on_done_ = std::move(on_done); }
  // REQUIRES, to call AddChunk or DropChunk on it: no piece is in flight.
  KvCopier* copier() const { return copier_; }

  // REQUIRES: none is in flight; the blocks' pages are mapped until it has completed.
  void Submit(SwapPiece piece);
  // The completed piece's result, once; nothing while it runs or when none was submitted.
  std::optional<SwapResult> TakeResult();
  // Returns when what was submitted has completed and its on_done has returned.
  void WaitIdle() { stream_->Wait(stream_->submitted()); }

 private:
  KvCopier* const copier_;
  device::Stream* const stream_;
  const base::Clock* const clock_;
  std::function<void()> on_done_;
  SwapPiece piece_;
  base::Mutex mutex_;
  bool in_flight_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<SwapResult> result_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ebb::engine
