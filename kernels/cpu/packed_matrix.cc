#include "kernels/cpu/packed_matrix.h"

#include <cstring>
#include <utility>

#include "absl/memory/memory.h"
#include "base/check.h"
#include "base/checked.h"
#include "base/status_macros.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/panel_layout.h"
#include "kernels/dequantize.h"
#include "kernels/quant_block.h"

namespace ebb::kernels::cpu {
namespace {

// Writes the codes of output `lane` into a zeroed block of 32 columns.
template <int kBits>
void StoreCodes(const uint8_t* codes, int lane, uint8_t* quants) {
  for (int k = 0; k < kBlockColumns; ++k) {
    const int quad = k / 4;
    const int place = lane * 4 + k % 4;
    if (kBits == 8) {
      quants[quad * 64 + place] = codes[k];
      continue;
    }
    quants[quad / 2 * 64 + place] |= static_cast<uint8_t>((codes[k] & 15) << quad % 2 * 4);
    if (kBits == 5) quants[256 + place] |= static_cast<uint8_t>(codes[k] >> 4 << quad);
    if (kBits == 6) {
      quants[256 + quad / 4 * 64 + place] |= static_cast<uint8_t>(codes[k] >> 4 << quad % 4 * 2);
    }
  }
}

void StoreCodes(int bits, const uint8_t* codes, int lane, uint8_t* quants) {
  switch (bits) {
    case 4:
      return StoreCodes<4>(codes, lane, quants);
    case 5:
      return StoreCodes<5>(codes, lane, quants);
    case 6:
      return StoreCodes<6>(codes, lane, quants);
    default:
      return StoreCodes<8>(codes, lane, quants);
  }
}

int LoadCode(int bits, int lane, int k, const uint8_t* quants) {
  const int quad = k / 4;
  const int place = lane * 4 + k % 4;
  if (bits == 8) return quants[quad * 64 + place];
  const int low = quants[quad / 2 * 64 + place] >> quad % 2 * 4 & 15;
  if (bits == 5) return low | (quants[256 + place] >> quad & 1) << 4;
  if (bits == 6) return low | (quants[256 + quad / 4 * 64 + place] >> quad % 4 * 2 & 3) << 4;
  return low;
}

// One output's block of the file into the panel's codes and scales of that group.
void StoreGroup(const PanelLayout& layout, const QuantBlock& block, int lane, uint8_t* quants,
                uint8_t* scales) {
  for (int64_t b = 0; b < layout.blocks_per_group(); ++b) {
    StoreCodes(layout.quant.bits, block.codes + b * kBlockColumns, lane,
               quants + b * layout.quant_bytes);
  }
  std::memcpy(scales + 2 * lane, &block.d, 2);
  if (layout.quant.has_minimum) std::memcpy(scales + 2 * kPanelRows + 2 * lane, &block.m, 2);
  if (!layout.quant.has_scales) return;
  uint8_t* sub = scales + layout.header_bytes;
  for (int64_t i = 0; i < layout.group_columns / layout.quant.sub_elements; ++i) {
    sub[lane] = static_cast<uint8_t>(block.scales[i]);
    if (layout.quant.has_minimum) sub[kPanelRows + lane] = static_cast<uint8_t>(block.minimums[i]);
    sub += layout.sub_bytes;
  }
}

void LoadGroup(const PanelLayout& layout, int lane, const uint8_t* quants, const uint8_t* scales,
               QuantBlock* block) {
  for (int64_t k = 0; k < layout.group_columns; ++k) {
    block->codes[k] =
        static_cast<uint8_t>(LoadCode(layout.quant.bits, lane, static_cast<int>(k % kBlockColumns),
                                      quants + k / kBlockColumns * layout.quant_bytes));
  }
  std::memcpy(&block->d, scales + 2 * lane, 2);
  if (layout.quant.has_minimum) std::memcpy(&block->m, scales + 2 * kPanelRows + 2 * lane, 2);
  block->scales[0] = block->minimums[0] = 1;
  if (!layout.quant.has_scales) return;
  const uint8_t* sub = scales + layout.header_bytes;
  for (int64_t i = 0; i < layout.group_columns / layout.quant.sub_elements; ++i) {
    block->scales[i] = static_cast<int8_t>(sub[lane]);
    if (layout.quant.has_minimum) block->minimums[i] = static_cast<int8_t>(sub[kPanelRows + lane]);
    sub += layout.sub_bytes;
  }
}

// Bytes of 16 outputs and one block of the file, a column in the plain formats.
int64_t PanelBlockBytes(DType dtype) {
  const DTypeTraits traits = TraitsOf(dtype);
  if (traits.block_elements == 1) return int64_t{kPanelRows} * traits.block_bytes;
  const PanelLayout layout = PanelLayoutOf(dtype);
  return layout.blocks_per_group() * layout.quant_bytes + layout.group_bytes;
}

}  // namespace

PackedMatrix::PackedMatrix(const MatrixSource& source, int64_t panel_bytes,
                           WeightArena::Piece piece)
    : dtype_(source.dtype),
      rows_(source.rows),
      columns_(source.columns),
      panel_bytes_(panel_bytes),
      piece_(std::move(piece)) {}

int64_t PackedMatrix::panel_count() const { return (rows_ - 1) / kPanelRows + 1; }

absl::StatusOr<std::unique_ptr<PackedMatrix>> PackedMatrix::Pack(const MatrixSource& source,
                                                                 WeightArena* arena) {
  RETURN_IF_ERROR(CheckMatrix(source));
  const DTypeTraits traits = TraitsOf(source.dtype);
  const int64_t blocks = source.columns / traits.block_elements;
  // At most 17 times the file's bytes, which are in memory: neither sum can overflow.
  const auto panel_bytes = static_cast<int64_t>(
      base::Checked(static_cast<uint64_t>(blocks * PanelBlockBytes(source.dtype)))
          .RoundUp(64)
          .value());
  const int64_t panels = (source.rows - 1) / kPanelRows + 1;
  ASSIGN_OR_RETURN(WeightArena::Piece piece,
                   arena->Allocate(static_cast<size_t>(panels * panel_bytes)));
  auto matrix = absl::WrapUnique(new PackedMatrix(source, panel_bytes, std::move(piece)));
  const uint8_t* row_bytes = source.bytes.data();
  for (int64_t row = 0; row < source.rows; ++row, row_bytes += blocks * traits.block_bytes) {
    if (matrix->is_plain()) {
      matrix->PackPlainRow(row, row_bytes);
    } else {
      matrix->PackRow(row, row_bytes);
    }
  }
  return matrix;
}

void PackedMatrix::PackPlainRow(int64_t row, const uint8_t* bytes) {
  const int64_t element_bytes = TraitsOf(dtype_).block_bytes;
  uint8_t* out = Panel(row) + row % kPanelRows * element_bytes;
  for (int64_t k = 0; k < columns_; ++k) {
    std::memcpy(out + k * kPanelRows * element_bytes, bytes + k * element_bytes,
                static_cast<size_t>(element_bytes));
  }
}

void PackedMatrix::PackRow(int64_t row, const uint8_t* bytes) {
  const PanelLayout layout = PanelLayoutOf(dtype_);
  uint8_t* quants = Panel(row);
  uint8_t* scales = quants + columns_ / kBlockColumns * layout.quant_bytes;
  QuantBlock block;
  for (int64_t k = 0; k < columns_; k += layout.group_columns) {
    ReadQuantBlock(dtype_, bytes, &block);
    StoreGroup(layout, block, static_cast<int>(row % kPanelRows), quants, scales);
    bytes += TraitsOf(dtype_).block_bytes;
    quants += layout.blocks_per_group() * layout.quant_bytes;
    scales += layout.group_bytes;
  }
}

void PackedMatrix::UnpackRow(int64_t row, float* out) const {
  CHECK(row >= 0 && row < rows_);
  const int lane = static_cast<int>(row % kPanelRows);
  const uint8_t* quants = panel(row / kPanelRows);
  if (is_plain()) {
    const int64_t element_bytes = TraitsOf(dtype_).block_bytes;
    for (int64_t k = 0; k < columns_; ++k) {
      Dequantize(dtype_, {quants + (k * kPanelRows + lane) * element_bytes, size_t(element_bytes)},
                 {out + k, 1});
    }
    return;
  }
  const PanelLayout layout = PanelLayoutOf(dtype_);
  const uint8_t* scales = quants + columns_ / kBlockColumns * layout.quant_bytes;
  QuantBlock block;
  for (int64_t k = 0; k < columns_; k += layout.group_columns) {
    LoadGroup(layout, lane, quants, scales, &block);
    DequantizeBlock(dtype_, block, {out + k, static_cast<size_t>(layout.group_columns)});
    quants += layout.blocks_per_group() * layout.quant_bytes;
    scales += layout.group_bytes;
  }
}

}  // namespace ebb::kernels::cpu
