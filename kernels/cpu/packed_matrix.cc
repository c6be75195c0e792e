#include "kernels/cpu/packed_matrix.h"

#include <cstring>
#include <utility>

#include "absl/memory/memory.h"
#include "base/check.h"
#include "base/checked.h"
#include "base/status_macros.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/dequantize.h"

namespace ebb::kernels::cpu {
namespace {

// How a format's blocks lie in a panel. Plain formats count a column as a block without scales.
struct PanelLayout {
  int64_t quant_bytes = 0;  // Of 16 outputs and one block.
  int64_t scale_bytes = 0;
};

PanelLayout LayoutOf(DType dtype) {
  switch (dtype) {
    case DType::kQ8_0:
      return {512, 32};
    case DType::kQ4_0:
      return {256, 32};
    case DType::kQ4_1:
      return {256, 64};
    default:
      return {int64_t{kPanelRows} * TraitsOf(dtype).block_bytes, 0};
  }
}

// Element k of a file's 4-bit block, whose nibbles start at `nibbles`.
uint8_t NibbleOf(const uint8_t* nibbles, int k) {
  return k < 16 ? nibbles[k] & 15 : nibbles[k - 16] >> 4;
}

// One output's share of a block, from the file's form into the panel's.
void PackBlock(DType dtype, const uint8_t* block, int lane, uint8_t* quants, uint8_t* scales) {
  const int file_scale_bytes = dtype == DType::kQ4_1 ? 4 : 2;
  const uint8_t* q = block + file_scale_bytes;
  if (dtype == DType::kQ8_0) {
    for (int k = 0; k < kBlockColumns; ++k) {
      quants[k / 4 * 64 + lane * 4 + k % 4] = static_cast<uint8_t>(q[k] ^ 0x80);
    }
  } else {
    for (int k = 0; k < kBlockColumns; ++k) {
      const int shift = k % 8 < 4 ? 0 : 4;
      quants[k / 8 * 64 + lane * 4 + k % 4] |= static_cast<uint8_t>(NibbleOf(q, k) << shift);
    }
  }
  std::memcpy(scales + 2 * lane, block, 2);
  if (dtype == DType::kQ4_1) std::memcpy(scales + 32 + 2 * lane, block + 2, 2);
}

// A weight of output `lane` and column k of a block, as the integer that is stored for it.
int StoredValue(DType dtype, const uint8_t* quants, int lane, int k) {
  if (dtype == DType::kQ8_0) return quants[k / 4 * 64 + lane * 4 + k % 4] - 128;
  const int byte = quants[k / 8 * 64 + lane * 4 + k % 4];
  const int nibble = k % 8 < 4 ? byte & 15 : byte >> 4;
  return dtype == DType::kQ4_0 ? nibble - 8 : nibble;
}

float LoadHalf(const uint8_t* bytes) {
  return HalfToFloat(static_cast<uint16_t>(bytes[0] | bytes[1] << 8));
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
  const PanelLayout layout = LayoutOf(source.dtype);
  const int64_t blocks = source.columns / traits.block_elements;
  // At most 16 times the file's bytes, which are in memory: neither sum can overflow.
  const auto panel_bytes = static_cast<int64_t>(
      base::Checked(static_cast<uint64_t>(blocks * (layout.quant_bytes + layout.scale_bytes)))
          .RoundUp(64)
          .value());
  const int64_t panels = (source.rows - 1) / kPanelRows + 1;
  ASSIGN_OR_RETURN(WeightArena::Piece piece,
                   arena->Allocate(static_cast<size_t>(panels * panel_bytes)));
  const uint8_t* block = source.bytes.data();
  for (int64_t row = 0; row < source.rows; ++row) {
    const int lane = static_cast<int>(row % kPanelRows);
    uint8_t* quants = piece.data + row / kPanelRows * panel_bytes;
    uint8_t* scales = quants + blocks * layout.quant_bytes;
    for (int64_t b = 0; b < blocks; ++b, block += traits.block_bytes) {
      if (traits.block_elements == 1) {
        std::memcpy(quants + lane * traits.block_bytes, block, traits.block_bytes);
      } else {
        PackBlock(source.dtype, block, lane, quants, scales);
      }
      quants += layout.quant_bytes;
      scales += layout.scale_bytes;
    }
  }
  return absl::WrapUnique(new PackedMatrix(source, panel_bytes, std::move(piece)));
}

void PackedMatrix::UnpackRow(int64_t row, float* out) const {
  CHECK(row >= 0 && row < rows_);
  const DTypeTraits traits = TraitsOf(dtype_);
  const PanelLayout layout = LayoutOf(dtype_);
  const int64_t blocks = columns_ / traits.block_elements;
  const int lane = static_cast<int>(row % kPanelRows);
  const uint8_t* quants = panel(row / kPanelRows);
  const uint8_t* scales = quants + blocks * layout.quant_bytes;
  for (int64_t b = 0; b < blocks; ++b) {
    if (traits.block_elements == 1) {
      Dequantize(dtype_, {quants + lane * traits.block_bytes, size_t(traits.block_bytes)},
                 {out + b, 1});
    } else {
      const float d = LoadHalf(scales + 2 * lane);
      const float m = dtype_ == DType::kQ4_1 ? LoadHalf(scales + 32 + 2 * lane) : 0.0f;
      for (int k = 0; k < kBlockColumns; ++k) {
        const float product = d * static_cast<float>(StoredValue(dtype_, quants, lane, k));
        out[b * kBlockColumns + k] = dtype_ == DType::kQ8_0 ? product : product + m;
      }
    }
    quants += layout.quant_bytes;
    scales += layout.scale_bytes;
  }
}

}  // namespace ebb::kernels::cpu
