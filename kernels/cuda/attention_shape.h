// The shapes that the attention kernels and the host's plan for them must agree on.
#pragma once

#include <cstdint>

namespace ebb::kernels::cuda {

// Keys that one step of a prefill tile holds against its rows. Steps begin at multiples of it from
// position 0, whatever the tile, so that a row's arithmetic depends on nothing but the row.
inline constexpr int32_t kPrefillKeyTile = 64;

// Keys that the warps of a decode CTA take in one round. Splits begin at multiples of it.
inline constexpr int32_t kDecodeKeyTile = 64;

// Query heads that one decode CTA serves: the M of a tensor core's product. A larger group of heads
// that share a key head takes several CTAs for a split.
inline constexpr int32_t kDecodeGroupTile = 16;

// Decode CTAs that an SM holds at a time (shared memory, head_dim 128; see attention_decode.cu).
inline constexpr int32_t kDecodeCtasPerSm = 3;

}  // namespace ebb::kernels::cuda
