// KernelTable: the micro-kernels of one instruction set, as plain functions over plain structs.
//
// Everything that depends on an instruction set stands behind this table; cpu_backend.cc cuts
// operations into tiles and never sees a vector. A further set (AMX) joins as one more table.
//
// Layouts, both made of units of 16, so that one table's packed data suit every other's:
//
//   weights     panels of 16 outputs; see packed_matrix.h
//   activations groups of W rows ("width"), W up to 8 or 16:
//     int16  per 32 columns, in two planes of bytes: 8 quads x W x int8[4] high,
//            8 quads x W x int8[4] low, W x f32 d, W x f32 s, W x i32 -sum, W x i32 -sum of the
//            first 16 columns
//            q = 256 * high + low, x = d * q, s = d * sum(q); 80 bytes a row and block
//     float  per column: W x f32
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/dtype.h"
#include "kernels/paged_kv.h"

namespace ebb::kernels::cpu {

constexpr int32_t kPanelRows = 16;  // Outputs of a weight panel.
constexpr int32_t kGroupRows = 16;  // Rows of a full activation group.
constexpr int32_t kBlockColumns = 32;
constexpr int64_t kQuantizedBlockBytes = 80;  // Of one row.
constexpr int32_t kQuantizedMax = 127 * 256;  // Of an activation.
constexpr int32_t kSplitPositions = 256;      // Of an attention split.
constexpr int32_t kMaxQueries = 24;           // Rows x heads of one attention tile.
constexpr int32_t kMaxHeadDim = 512;

// Some panels of one matrix times one activation group. y[t, p * 16 + i] for t < width.
struct MatmulTile {
  const uint8_t* panels = nullptr;
  int64_t panel_bytes = 0;
  int32_t panel_count = 0;
  int32_t last_outputs = kPanelRows;  // Outputs of the last panel, 1 .. 16.
  int64_t columns = 0;
  const uint8_t* x = nullptr;  // One group: int16 form for block formats, float form else.
  int32_t width = 0;           // 1 .. 8, or 16.
  float* y = nullptr;
  int64_t y_stride = 0;  // In floats.
  bool accumulate = false;
};

// Some columns of one row of activations on their way into the row's group.
struct PackRow {
  const float* x = nullptr;
  int64_t columns = 0;                 // Of the whole row: the norm is over all of them.
  int64_t first_column = 0;            // A multiple of kBlockColumns.
  int64_t end_column = 0;              // Likewise, or `columns`.
  const float* norm_weight = nullptr;  // Null: no norm.
  float epsilon = 0;
  int32_t width = 0;
  int32_t lane = 0;              // The row's place in its group.
  uint8_t* quantized = nullptr;  // The group's int16 form, or null.
  float* plain = nullptr;        // The group's float form, or null.
};

// One row's heads on their way into the cache; see HeadTransform in kernels/backend.h.
struct RopeRow {
  const float* q_bias = nullptr;  // [heads * head_dim]; these five may be null.
  const float* k_bias = nullptr;  // [kv_heads * head_dim]
  const float* v_bias = nullptr;  // [kv_heads * head_dim]
  const float* q_norm = nullptr;  // [head_dim]
  const float* k_norm = nullptr;  // [head_dim]
  float norm_epsilon = 0;
  const float* frequencies = nullptr;
  int32_t pair_count = 0;
  int32_t position = 0;
  int32_t heads = 0;
  float* q = nullptr;  // [heads * head_dim]
  float* k = nullptr;  // [kv_heads * head_dim]
  const float* v = nullptr;
  PagedKv kv;
  uint8_t* keys = nullptr;  // The block's, of this layer.
  uint8_t* values = nullptr;
  int32_t token = 0;  // Place in the block.
};

// Rows of one sequence at consecutive positions, and query heads that share one key head.
// REQUIRES: row_count * head_count <= kMaxQueries, head_dim <= kMaxHeadDim.
struct AttentionTile {
  const float* q = nullptr;  // First row, first of the heads.
  float* out = nullptr;
  int64_t row_stride = 0;  // In floats.
  int32_t row_count = 0;
  int32_t head_count = 0;
  int32_t first_position = 0;
  int32_t kv_head = 0;
  int32_t layer = 0;
  const int32_t* table = nullptr;
  PagedKv kv;
};

struct KernelTable {
  const char* name;
  void (*pack_row)(const PackRow& row);
  void (*matmul[kDTypeCount])(const MatmulTile& tile);  // By DType.
  // gate = silu(gate) * up
  void (*silu_times)(float* gate, const float* up, int64_t count);
  void (*rope_row)(const RopeRow& row);
  void (*attention)(const AttentionTile& tile);
};

// What the processor lacks is the caller's to check: see cpu_features.h.
const KernelTable& Avx2Kernels();
const KernelTable& Avx512Kernels();

}  // namespace ebb::kernels::cpu
