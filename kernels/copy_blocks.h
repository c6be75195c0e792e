// Copying whole blocks inside a PagedKv: the one place that knows which bytes make up a block.
#pragma once

#include <cstdint>
#include <cstring>

#include "absl/types/span.h"
#include "kernels/paged_kv.h"

namespace ebb::kernels {

// The keys and values of one block in all layers go elsewhere. PagedKv indices.
struct BlockCopy {
  int32_t from = 0;
  int32_t to = 0;
};

// Calls part(to, from, bytes) for each piece of the block that is contiguous: one for each layer.
template <typename Part>
void ForEachPart(const PagedKv& kv, const BlockCopy& copy, Part part) {
  for (int32_t layer = 0; layer < kv.layers; ++layer) {
    part(kv.Keys(layer, copy.to), static_cast<const uint8_t*>(kv.Keys(layer, copy.from)),
         kv.layer_block_bytes);
  }
}

// On the host. REQUIRES: no block is both read and written, or written twice.
inline void CopyBlocks(const PagedKv& kv, absl::Span<const BlockCopy> copies) {
  for (const BlockCopy& copy : copies) {
    ForEachPart(kv, copy, [](uint8_t* to, const uint8_t* from, int64_t bytes) {
      std::memcpy(to, from, static_cast<size_t>(bytes));
    });
  }
}

}  // namespace ebb::kernels
