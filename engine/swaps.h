// Swaps: the sequences whose keys and values are in the swap space, or on the way there or back.
//
//          BeginOut              all copied             BeginIn             all copied
//   none ────────────> leaving ────────────> kept <─────────────> returning ───────────> none
//   runs               runs, and has         waits, or runs       runs, and has
//                      its blocks            without blocks       blocks again
//
// A leaving one that is preempted, and a returning one whose copy fails, loses what the space has
// of it and is recomputed: nothing is ever lost but time. A returning one that is preempted is
// kept.
//
// Copies go piece by piece, so that nobody waits long for one: while a piece is in flight the
// sequence's in_step is set, between two pieces it may end or give way like any other.
//
// Owned by EngineCore, guarded by its mutex.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "engine/engine.h"
#include "engine/kv_swapper.h"
#include "engine/sequence.h"
#include "memory/copy_rate.h"
#include "memory/swap_space.h"

namespace ebb::engine {

class Swaps {
 public:
  struct Options {
    int64_t bytes_max = 0;  // 0: off.
    int64_t slot_bytes = 0;
    absl::Duration idle_after = absl::Seconds(5);
    CopierTraits copier;
  };
  explicit Swaps(const Options& options);

  bool on() const { return space_.slot_count() > 0; }
  const memory::SwapSpace& space() const { return space_; }
  SwapView View() const;

  // ---- sequences

  // REQUIRES: its state is kNone, and so many slots are free as its computed tokens have blocks.
  void BeginOut(Sequence* sequence, int64_t block_count);
  // The blocks that it has from the prefix cache stay as they are, the others are filled.
  // REQUIRES: it is kept and runs, its table has room for swap.tokens.
  void BeginIn(Sequence* sequence);
  // It gives its blocks back. True when its keys and values are all in the space, and stay there.
  bool NotePreempted(Sequence* sequence, absl::Time now);
  // What the space has of it is of no interest any more. REQUIRES: !sequence->in_step.
  void Forget(Sequence* sequence, absl::Time now);
  // It was to be kept and is recomputed.
  void CountFallback(SwapFallback reason) { ++view_.fallbacks[static_cast<size_t>(reason)]; }

  // Those whose blocks are being copied or wait for it.
  bool busy() const { return !leaving_.empty() || !returning_.empty(); }
  const std::vector<Sequence*>& leaving() const { return leaving_; }

  // ---- copies: the actor's side

  // What is to be done next, first those that leave, then the others in the one order.
  struct Work {
    Sequence* sequence = nullptr;         // None: nothing.
    std::optional<int32_t> chunk_to_add;  // Must be there first.
    SwapPiece piece;
  };
  Work NextWork() const;
  // The piece of `sequence` has been copied.
  void NotePiece(Sequence* sequence, const SwapPiece& piece, absl::Duration took);
  memory::SwapSpace& mutable_space() { return space_; }

  // ---- times

  // Until so many bytes would be there, behind those that wait.
  absl::Duration OutTime(int64_t bytes) const;
  absl::Duration InTime(int64_t bytes) const { return in_rate_.Predict(bytes); }

 private:
  int64_t BytesOf(int64_t blocks) const { return blocks * space_.slot_bytes(); }

  memory::SwapSpace space_;
  const int32_t piece_blocks_;
  memory::CopyRate out_rate_;
  memory::CopyRate in_rate_;
  std::vector<Sequence*> leaving_;  // In the order in which they began.
  std::vector<Sequence*> returning_;
  SwapView view_;  // What is counted.
};

}  // namespace ebb::engine
