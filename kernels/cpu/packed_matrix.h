// PackedMatrix: a weight matrix in panels of 16 outputs, so that one vector load brings the same
// columns of 16 outputs.
//
//   panel p: outputs 16p .. 16p + 15 (missing ones are zero), starting at a multiple of 64 bytes
//   plain formats  per column: 16 elements
//   Q4_0, Q4_1     per block of 32 columns, 4 x 64 bytes: byte 4r + i of vector j holds, for output
//                  r, column 8j + i (low nibble) and 8j + 4 + i (high nibble)
//   Q8_0           per block, 8 x 64 bytes: byte 4r + i of vector j is column 4j + i, plus 128
//   then, for the block formats, the scales: per block 16 x f16 d, and for Q4_1 16 x f16 m
//
// The bytes per weight are the file's own. Immutable; any table of kernel_table.h can use it.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/cpu/weight_arena.h"

namespace ebb::kernels::cpu {

class PackedMatrix : public Matrix {
 public:
  // INVALID_ARGUMENT as CheckMatrix says; RESOURCE_EXHAUSTED when there is no memory.
  static absl::StatusOr<std::unique_ptr<PackedMatrix>> Pack(const MatrixSource& source,
                                                            WeightArena* arena);

  int64_t rows() const override { return rows_; }
  int64_t columns() const override { return columns_; }
  int64_t held_bytes() const override { return panel_count() * panel_bytes_; }

  DType dtype() const { return dtype_; }
  bool is_plain() const { return TraitsOf(dtype_).block_elements == 1; }
  int64_t panel_count() const;
  int64_t panel_bytes() const { return panel_bytes_; }
  const uint8_t* panel(int64_t index) const { return piece_.data + index * panel_bytes_; }

  // Writes the floats of one row, equal bit for bit to Dequantize's. REQUIRES: row < rows().
  void UnpackRow(int64_t row, float* out) const;

 private:
  PackedMatrix(const MatrixSource& source, int64_t panel_bytes, WeightArena::Piece piece);

  const DType dtype_;
  const int64_t rows_;
  const int64_t columns_;
  const int64_t panel_bytes_;
  const WeightArena::Piece piece_;
};

}  // namespace ebb::kernels::cpu
