// SwapSpace: which slots of the swap space are taken, and which of its chunks must be there.
//
//   chunk 0 [##.#]   chunk 1 [#...]   chunk 2 (absent)     a slot: one block's keys and values
//
// Pure: it takes no memory. Slots are taken from chunks that are there before others, low chunks
// first, so that high ones become empty. Whoever owns the memory asks for the next chunk to add or
// to drop, and says what came of it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"

namespace ebb::memory {

using SlotId = int32_t;

// Thread-compatible: guarded by the engine's mutex.
class SwapSpace {
 public:
  struct Options {
    int64_t bytes_max = 0;                         // Of all chunks together. 0: there are no slots.
    int64_t slot_bytes = 0;                        // KvGeometry::block_bytes().
    int64_t chunk_bytes = 0;                       // About: whole slots, at least one.
    absl::Duration idle_after = absl::Seconds(5);  // An empty chunk goes then.
  };
  // REQUIRES: slot_bytes > 0.
  explicit SwapSpace(const Options& options);

  int64_t slot_bytes() const { return options_.slot_bytes; }
  int32_t slot_count() const { return static_cast<int32_t>(taken_.size()); }
  int32_t free_slots() const { return slot_count() - used_slots_; }
  int32_t used_slots() const { return used_slots_; }
  // Of chunks that are there: never more than bytes_max.
  int64_t held_bytes() const;

  int32_t ChunkOf(SlotId slot) const { return slot / chunk_slots_; }
  int64_t ChunkBytes(int32_t chunk) const;
  bool IsTaken(SlotId slot) const { return taken_[static_cast<size_t>(slot)]; }

  // Nothing, and nothing changes, when not so many are free. REQUIRES: count >= 1.
  std::optional<std::vector<SlotId>> TryTake(int32_t count);
  // REQUIRES: all are taken.
  void Return(absl::Span<const SlotId> slots, absl::Time now);

  bool IsThere(int32_t chunk) const { return chunks_[static_cast<size_t>(chunk)].there; }
  // REQUIRES: it was not there.
  void NoteAdded(int32_t chunk, absl::Time now);
  // An empty chunk for which nobody has had use for idle_after.
  std::optional<int32_t> ChunkToDrop(absl::Time now) const;
  // When ChunkToDrop will name one, if nothing else happens.
  absl::Time NextDrop() const;
  // REQUIRES: it was there. Its slots may be taken: then it must be added again for them.
  void NoteDropped(int32_t chunk);

 private:
  struct Chunk {
    bool there = false;
    int32_t used = 0;
    absl::Time idle_since;  // While none is used.
  };
  int32_t ChunkSlots(int32_t chunk) const;

  const Options options_;
  const int32_t chunk_slots_;
  std::vector<bool> taken_;
  std::vector<Chunk> chunks_;
  int32_t used_slots_ = 0;
};

}  // namespace ebb::memory
