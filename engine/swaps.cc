#include "engine/swaps.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace ebb::engine {
namespace {

memory::SwapSpace::Options SpaceOptions(const Swaps::Options& options) {
  memory::SwapSpace::Options space;
  space.bytes_max = options.bytes_max;
  space.slot_bytes = options.slot_bytes;
  space.chunk_bytes = options.copier.chunk_slots * options.slot_bytes;
  space.idle_after = options.idle_after;
  return space;
}

void Remove(Sequence* sequence, std::vector<Sequence*>* from) {
  from->erase(std::remove(from->begin(), from->end(), sequence), from->end());
}

}  // namespace

Swaps::Swaps(const Options& options)
    : space_(SpaceOptions(options)),
      piece_blocks_(options.copier.piece_slots),
      out_rate_(options.copier.prior_bytes_per_s),
      in_rate_(options.copier.prior_bytes_per_s) {}

SwapView Swaps::View() const {
  SwapView view = view_;
  view.bytes_max = BytesOf(space_.slot_count());
  view.held_bytes = space_.held_bytes();
  view.used_bytes = BytesOf(space_.used_slots());
  return view;
}

void Swaps::BeginOut(Sequence* sequence, int64_t block_count) {
  CHECK(sequence->swap.state == SwapState::kNone && sequence->running() && !sequence->in_step);
  std::optional<std::vector<memory::SlotId>> slots =
      space_.TryTake(static_cast<int32_t>(block_count));
  CHECK(slots.has_value());
  sequence->swap = {};
  sequence->swap.state = SwapState::kLeaving;
  sequence->swap.slots = *std::move(slots);
  sequence->swap.tokens = sequence->computed_tokens;
  leaving_.push_back(sequence);
}

void Swaps::BeginIn(Sequence* sequence) {
  CHECK(sequence->swap.state == SwapState::kKept && sequence->running() && !sequence->in_step);
  CHECK_GE(sequence->table.capacity_tokens(), sequence->swap.tokens);
  sequence->swap.state = SwapState::kReturning;
  sequence->swap.blocks_done = static_cast<int32_t>(sequence->place.blocks);
  sequence->computed_tokens = sequence->swap.tokens;
  returning_.push_back(sequence);
}

bool Swaps::NotePreempted(Sequence* sequence, absl::Time now) {
  SwappedKv& swap = sequence->swap;
  if (swap.state == SwapState::kNone) return false;
  if (swap.state == SwapState::kLeaving) {
    if (swap.blocks_done < static_cast<int32_t>(swap.slots.size())) {
      Forget(sequence, now);
      return false;
    }
    ++view_.out_sequences_total;
  }
  Remove(sequence, &leaving_);
  Remove(sequence, &returning_);
  swap.state = SwapState::kKept;
  swap.stops = false;
  return true;
}

void Swaps::Forget(Sequence* sequence, absl::Time now) {
  if (sequence->swap.state == SwapState::kNone) return;
  CHECK(!sequence->in_step);
  Remove(sequence, &leaving_);
  Remove(sequence, &returning_);
  space_.Return(sequence->swap.slots, now);
  sequence->swap = {};
}

Swaps::Work Swaps::NextWork() const {
  Work work;
  if (!leaving_.empty()) {
    work.sequence = leaving_.front();
  } else if (!returning_.empty()) {
    work.sequence =
        *std::min_element(returning_.begin(), returning_.end(),
                          [](const Sequence* a, const Sequence* b) { return a->key < b->key; });
  } else {
    return work;
  }
  const SwappedKv& swap = work.sequence->swap;
  work.piece.out = swap.state == SwapState::kLeaving;
  const int32_t end =
      std::min(swap.blocks_done + piece_blocks_, static_cast<int32_t>(swap.slots.size()));
  for (int32_t i = swap.blocks_done; i < end; ++i) {
    const memory::SlotId slot = swap.slots[static_cast<size_t>(i)];
    if (!space_.IsThere(space_.ChunkOf(slot))) {
      CHECK(work.piece.out) << "a kept block's chunk is gone";
      work.chunk_to_add = space_.ChunkOf(slot);
      return work;
    }
    work.piece.copies.push_back({work.sequence->table.indices()[static_cast<size_t>(i)], slot});
  }
  return work;
}

void Swaps::NotePiece(Sequence* sequence, const SwapPiece& piece, absl::Duration took) {
  const auto count = static_cast<int32_t>(piece.copies.size());
  sequence->swap.blocks_done += count;
  (piece.out ? out_rate_ : in_rate_).Observe(BytesOf(count), took);
  (piece.out ? view_.out_bytes_total : view_.in_bytes_total) += BytesOf(count);
  const bool done = sequence->swap.blocks_done == static_cast<int32_t>(sequence->swap.slots.size());
  if (!piece.out && done) ++view_.in_sequences_total;
}

absl::Duration Swaps::OutTime(int64_t bytes) const {
  for (const Sequence* sequence : leaving_) {
    const SwappedKv& swap = sequence->swap;
    bytes += BytesOf(static_cast<int64_t>(swap.slots.size()) - swap.blocks_done);
  }
  return out_rate_.Predict(bytes);
}

}  // namespace ebb::engine
