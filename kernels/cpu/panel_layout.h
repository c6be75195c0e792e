// How a block format's numbers lie in a panel of 16 outputs: shared by what packs them and by the
// kernels of every instruction set. The picture is in packed_matrix.h.
#pragma once

#include <cstdint>

#include "kernels/cpu/kernel_table.h"
#include "kernels/dtype.h"

namespace ebb::kernels::cpu {

// Sizes in bytes, of 16 outputs.
struct PanelLayout {
  QuantTraits quant;
  int64_t quant_bytes = 0;    // Of a block of 32 columns.
  int64_t group_columns = 0;  // What shares d: the file's block.
  int64_t group_bytes = 0;    // Scales of a group: d, m, then for each sub-block scales, minimums.
  int64_t header_bytes = 0;   // d and m.
  int64_t sub_bytes = 0;      // Scales and minimums of one sub-block, 8 bits each.

  constexpr int64_t blocks_per_group() const { return group_columns / kBlockColumns; }
  constexpr int64_t subs_per_block() const { return kBlockColumns / quant.sub_elements; }
};

// REQUIRES: a block format.
constexpr PanelLayout PanelLayoutOf(DType dtype) {
  PanelLayout layout;
  layout.quant = QuantTraitsOf(dtype);
  const int64_t numbers = layout.quant.has_minimum ? 2 : 1;
  layout.quant_bytes = int64_t{kBlockColumns} * kPanelRows / 8 * layout.quant.bits;
  layout.group_columns = TraitsOf(dtype).block_elements;
  layout.header_bytes = 2 * kPanelRows * numbers;
  layout.sub_bytes = layout.quant.has_scales ? kPanelRows * numbers : 0;
  layout.group_bytes =
      layout.header_bytes + layout.group_columns / layout.quant.sub_elements * layout.sub_bytes;
  return layout;
}

}  // namespace ebb::kernels::cpu
