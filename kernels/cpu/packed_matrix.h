// PackedMatrix: a weight matrix in panels of 16 outputs, so that one vector load brings the same
// columns of 16 outputs.
//
//   panel p: outputs 16p .. 16p + 15 (missing ones are zero), starting at a multiple of 64 bytes
//   plain formats  per column: 16 elements
//   block formats  per block of 32 columns the codes (QuantTraits), in quads of 4 columns: byte
//                  4r + i of a vector of 64 bytes belongs to output r and column i of its quads
//     8 bits       8 vectors: vector j is quad j
//     4 to 6 bits  4 vectors: vector j is quad 2j (low nibbles) and quad 2j + 1 (high nibbles)
//     5 bits       and one vector: bit j is the fifth of quad j
//     6 bits       and two vectors: bits 2j and 2j + 1 of vector v are the upper ones of
//                  quad 4v + j
//   then, for the block formats, the scales: per block of the file 16 x f16 d, and 16 x f16 m where
//   there is one; in the K formats then per sub-block 16 x int8 scales, and 16 x int8 minimums
//
// The bytes per weight are the file's own, but for the 6-bit scales of Q4_K and Q5_K, which take 8
// (2.8 % and 2.3 % more in all). Immutable; any table of kernel_table.h can use it.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/cpu/kernel_table.h"
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
  // A row of the file into its zeroed place.
  void PackPlainRow(int64_t row, const uint8_t* bytes);
  void PackRow(int64_t row, const uint8_t* bytes);
  uint8_t* Panel(int64_t row) { return piece_.data + row / kPanelRows * panel_bytes_; }

  const DType dtype_;
  const int64_t rows_;
  const int64_t columns_;
  const int64_t panel_bytes_;
  const WeightArena::Piece piece_;
};

}  // namespace ebb::kernels::cpu
