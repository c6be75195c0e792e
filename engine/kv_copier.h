// KvCopier: where keys and values go that leave the device for a while, and the copying.
//
//   block 7 of the pages ──CopyOut──> slot 3        a slot is a block's parts of all layers, one
//   block 2 of the pages <──CopyIn─── slot 3        behind the other (kernels/paged_kv.h)
//
// Slots lie in chunks (memory/swap_space.h): one is added before the first slot of it is written,
// and dropped when none of its slots is of interest any more.
//
// Forms: FileKvCopier (an unlinked file), CudaKvCopier (pinned host memory), FakeKvCopier (tests).
#pragma once

#include <algorithm>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "memory/swap_space.h"

namespace ebb::engine {

struct CopierTraits {
  int32_t chunk_slots = 1;       // Slots of a chunk.
  int32_t piece_slots = 1;       // So many blocks are copied at a time, at most.
  double prior_bytes_per_s = 1;  // What may be expected of a copy before one was seen.
};

// Chunks of about 64 MiB; pieces of about 8, so that nobody waits long for one.
inline CopierTraits UsualTraits(int64_t slot_bytes, double prior_bytes_per_s) {
  CopierTraits traits;
  traits.chunk_slots = static_cast<int32_t>(std::max<int64_t>(1, (int64_t{64} << 20) / slot_bytes));
  traits.piece_slots = static_cast<int32_t>(std::max<int64_t>(1, (int64_t{8} << 20) / slot_bytes));
  traits.prior_bytes_per_s = prior_bytes_per_s;
  return traits;
}

struct SlotCopy {
  int32_t block = 0;  // Its PagedKv index.
  memory::SlotId slot = 0;
};

// Used by one thread at a time. Frees its chunks with itself.
class KvCopier {
 public:
  virtual ~KvCopier() = default;

  // RESOURCE_EXHAUSTED when there is no room; what the system says. Nothing has changed then.
  virtual absl::Status AddChunk(int32_t chunk, int64_t bytes) = 0;
  virtual void DropChunk(int32_t chunk) = 0;

  // Return when every byte is where it should be. After a failure what was to be written is
  // undefined. REQUIRES: the blocks' pages are mapped, the slots' chunks are there.
  virtual absl::Status CopyOut(absl::Span<const SlotCopy> copies) = 0;
  virtual absl::Status CopyIn(absl::Span<const SlotCopy> copies) = 0;

  virtual const CopierTraits& traits() const = 0;
};

}  // namespace ebb::engine
