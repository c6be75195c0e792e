#include "memory/swap_space.h"

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace ebb::memory {
namespace {

int32_t SlotsIn(int64_t bytes, int64_t slot_bytes) {
  CHECK_GT(slot_bytes, 0);
  return static_cast<int32_t>(
      std::min<int64_t>(bytes / slot_bytes, std::numeric_limits<int32_t>::max() / 2));
}

}  // namespace

SwapSpace::SwapSpace(const Options& options)
    : options_(options),
      chunk_slots_(std::max(1, SlotsIn(options.chunk_bytes, options.slot_bytes))),
      taken_(static_cast<size_t>(SlotsIn(options.bytes_max, options.slot_bytes)), false),
      chunks_((taken_.size() + static_cast<size_t>(chunk_slots_) - 1) /
              static_cast<size_t>(chunk_slots_)) {}

int32_t SwapSpace::ChunkSlots(int32_t chunk) const {
  return std::min(chunk_slots_, slot_count() - chunk * chunk_slots_);
}

int64_t SwapSpace::ChunkBytes(int32_t chunk) const {
  return ChunkSlots(chunk) * options_.slot_bytes;
}

int64_t SwapSpace::held_bytes() const {
  int64_t bytes = 0;
  for (size_t chunk = 0; chunk < chunks_.size(); ++chunk) {
    if (chunks_[chunk].there) bytes += ChunkBytes(static_cast<int32_t>(chunk));
  }
  return bytes;
}

std::optional<std::vector<SlotId>> SwapSpace::TryTake(int32_t count) {
  CHECK_GE(count, 1);
  if (count > free_slots()) return std::nullopt;
  std::vector<SlotId> slots;
  slots.reserve(static_cast<size_t>(count));
  for (const bool there : {true, false}) {
    for (int32_t chunk = 0; chunk < static_cast<int32_t>(chunks_.size()); ++chunk) {
      Chunk& at = chunks_[static_cast<size_t>(chunk)];
      if (at.there != there || at.used == ChunkSlots(chunk)) continue;
      const SlotId first = chunk * chunk_slots_;
      for (SlotId slot = first; slot < first + ChunkSlots(chunk); ++slot) {
        if (static_cast<int32_t>(slots.size()) == count) break;
        if (IsTaken(slot)) continue;
        taken_[static_cast<size_t>(slot)] = true;
        ++at.used;
        slots.push_back(slot);
      }
    }
  }
  used_slots_ += count;
  CHECK_EQ(static_cast<int32_t>(slots.size()), count);
  return slots;
}

void SwapSpace::Return(absl::Span<const SlotId> slots, absl::Time now) {
  for (const SlotId slot : slots) {
    CHECK(IsTaken(slot)) << "slot " << slot << " is given back twice";
    taken_[static_cast<size_t>(slot)] = false;
    Chunk& chunk = chunks_[static_cast<size_t>(ChunkOf(slot))];
    if (--chunk.used == 0) chunk.idle_since = now;
  }
  used_slots_ -= static_cast<int32_t>(slots.size());
}

void SwapSpace::NoteAdded(int32_t chunk, absl::Time now) {
  Chunk& at = chunks_[static_cast<size_t>(chunk)];
  CHECK(!at.there);
  at.there = true;
  at.idle_since = now;
}

std::optional<int32_t> SwapSpace::ChunkToDrop(absl::Time now) const {
  for (size_t chunk = chunks_.size(); chunk-- > 0;) {
    const Chunk& at = chunks_[chunk];
    if (at.there && at.used == 0 && now >= at.idle_since + options_.idle_after) {
      return static_cast<int32_t>(chunk);
    }
  }
  return std::nullopt;
}

absl::Time SwapSpace::NextDrop() const {
  absl::Time next = absl::InfiniteFuture();
  for (const Chunk& chunk : chunks_) {
    if (chunk.there && chunk.used == 0) {
      next = std::min(next, chunk.idle_since + options_.idle_after);
    }
  }
  return next;
}

void SwapSpace::NoteDropped(int32_t chunk) {
  Chunk& at = chunks_[static_cast<size_t>(chunk)];
  CHECK(at.there);
  at.there = false;
}

}  // namespace ebb::memory
