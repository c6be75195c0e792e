#include "engine/swap_actor.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "device/device_lost.h"

namespace ebb::engine {

SwapActor::SwapActor(EngineCore* core, Windows* windows)
    : core_(core),
      windows_(windows),
      swapper_(core->parts.swapper),
      reader_(core->memory().readers().Add("swap")) {}

Pass SwapActor::RunOnce() {
  Pass pass;
  Outbox outbox;
  pass.progressed = Reap(&outbox);
  std::optional<int32_t> add;
  std::optional<int32_t> drop;
  int64_t add_bytes = 0;
  std::optional<SwapPiece> piece;
  {
    base::MutexLock lock(&core_->mutex);
    if (copying_ == nullptr && !core_->device_lost()) {
      Swaps::Work work = core_->swaps().NextWork();
      memory::SwapSpace& space = core_->swaps().mutable_space();
      drop = space.ChunkToDrop(core_->Now());
      if (drop.has_value()) {
        space.NoteDropped(*drop);
      } else if (work.chunk_to_add.has_value()) {
        add = work.chunk_to_add;
        add_bytes = space.ChunkBytes(*add);
      } else if (work.sequence != nullptr) {
        copying_ = work.sequence;
        copying_->in_step = true;
        piece_ = work.piece;
        piece = std::move(work.piece);
        ticket_ = core_->memory().readers().Submit(reader_);
      }
      pass.next_run = space.NextDrop();
    }
  }
  if (drop.has_value()) swapper_->copier()->DropChunk(*drop);
  if (add.has_value()) AddChunk(*add, add_bytes, &outbox);
  pass.progressed |= drop.has_value() || add.has_value() || piece.has_value();
  if (piece.has_value()) swapper_->Submit(*std::move(piece));
  core_->Deliver(&outbox);
  return pass;
}

bool SwapActor::Reap(Outbox* outbox) {
  const std::optional<SwapResult> result = swapper_->TakeResult();
  if (!result.has_value()) return false;
  base::MutexLock lock(&core_->mutex);
  CHECK(copying_ != nullptr);
  Settle(*result, core_->Now(), outbox);
  core_->limit_changed.SignalAll();
  core_->wakeups.WakeAll();
  return true;
}

void SwapActor::Settle(const SwapResult& result, absl::Time now, Outbox* outbox) {
  core_->memory().readers().Complete(reader_, ticket_);
  Sequence* const sequence = std::exchange(copying_, nullptr);
  sequence->in_step = false;
  if (device::IsDeviceLost(result.status)) core_->NoteDeviceLost(result.status, outbox);
  if (result.status.ok()) {
    core_->swaps().NotePiece(sequence, piece_, result.took);
  } else {
    LogFailure(piece_.out ? "out" : "in", result.status, outbox);
  }
  std::optional<EarlyEnd> early = core_->MustEnd(*sequence, now);
  if (early.has_value()) {
    core_->End(sequence, early->reason, std::move(early->status), -1, now, outbox);
  } else if (piece_.out) {
    SettleOut(sequence, result.status.ok());
  } else {
    SettleIn(sequence, result.status.ok(), now);
  }
}

void SwapActor::SettleOut(Sequence* sequence, bool copied) {
  const SwappedKv& swap = sequence->swap;
  const bool done = copied && swap.blocks_done == static_cast<int32_t>(swap.slots.size());
  if (!done && copied && !swap.stops) return;
  if (!done) {
    core_->swaps().CountFallback(copied ? SwapFallback::kLimit : SwapFallback::kFailed);
    core_->swaps().Forget(sequence, core_->Now());
  }
  core_->Preempt(sequence);
}

void SwapActor::SettleIn(Sequence* sequence, bool copied, absl::Time now) {
  if (!copied) {
    // It has the blocks: those that were not found in the prefix cache are computed again.
    core_->swaps().CountFallback(SwapFallback::kFailed);
    core_->swaps().Forget(sequence, now);
    sequence->computed_tokens =
        static_cast<int32_t>(sequence->place.blocks) * core_->memory().geometry().block_tokens();
    if (!sequence->prompt_logprobs_sent) sequence->prompt_logprobs.clear();
  } else if (sequence->swap.blocks_done == static_cast<int32_t>(sequence->swap.slots.size())) {
    core_->swaps().Forget(sequence, now);
  }
  if (sequence->leaving()) {
    core_->Preempt(sequence);
    return;
  }
  // An answer that lacks only its next token goes on where it left off.
  if (sequence->swap.state == SwapState::kNone && sequence->generated_tokens() > 0 &&
      sequence->remaining_tokens() == 1) {
    core_->HandOver(sequence, windows_->FirstGrowthBlocks(*sequence));
  }
}

// REQUIRES: the mutex is not held, no piece is in flight.
void SwapActor::AddChunk(int32_t chunk, int64_t bytes, Outbox* outbox) {
  const absl::Status status = swapper_->copier()->AddChunk(chunk, bytes);
  base::MutexLock lock(&core_->mutex);
  if (status.ok()) {
    core_->swaps().mutable_space().NoteAdded(chunk, core_->Now());
    return;
  }
  LogFailure("room", status, outbox);
  if (device::IsDeviceLost(status)) core_->NoteDeviceLost(status, outbox);
  const std::vector<Sequence*> leaving = core_->swaps().leaving();
  for (Sequence* sequence : leaving) {
    const std::vector<memory::SlotId>& slots = sequence->swap.slots;
    if (std::none_of(slots.begin(), slots.end(), [&](memory::SlotId slot) {
          return core_->swaps().space().ChunkOf(slot) == chunk;
        })) {
      continue;
    }
    core_->swaps().CountFallback(SwapFallback::kFailed);
    core_->Preempt(sequence);
  }
}

void SwapActor::LogFailure(const char* what, const absl::Status& status, Outbox* outbox) const {
  outbox->lines.push_back(
      {"swap_failed", {{"what", what}, {"reason", std::string(status.message())}}});
}

}  // namespace ebb::engine
