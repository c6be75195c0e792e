// Backend: the operations of a forward pass, on one device.
//
// The reference form computes in double and is the oracle of every test; the CPU form is fast. Both
// are row-invariant: row i of a result depends, bit for bit, only on row i of the input (and on its
// own sequence's keys and values), not on the number of rows, the row's place, the lane or the
// number of threads.
//
// Shapes are written [rows, columns], row-major, float unless said. Weights are [out, in].
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "kernels/dtype.h"
#include "kernels/paged_kv.h"

namespace ebb::kernels {

// The stream on whose behalf an operation runs. Where both want the cores, decode goes first.
enum class Lane { kPrefill, kDecode };

// A weight matrix as a file holds it. `bytes` is only read during LoadMatrix.
struct MatrixSource {
  DType dtype = DType::kF32;
  int64_t rows = 0;     // Outputs.
  int64_t columns = 0;  // Inputs; a multiple of the format's block.
  absl::Span<const uint8_t> bytes;
};

// A weight matrix in a backend's own layout. Immutable.
class Matrix {
 public:
  virtual ~Matrix() = default;
  virtual int64_t rows() const = 0;
  virtual int64_t columns() const = 0;
  virtual int64_t held_bytes() const = 0;
};

// x * weight / sqrt(mean(x^2) + epsilon), row by row. A null weight means no norm.
struct RmsNorm {
  const float* weight = nullptr;  // [columns]
  float epsilon = 0;
};

// y = W x, or y += W x.
struct LinearOutput {
  const Matrix* weight = nullptr;
  float* y = nullptr;  // [rows, weight->rows()]
  bool accumulate = false;
};

// Rotary embedding over the first 2 * pair_count dimensions of a head: pair i is dimensions
// (2i, 2i + 1), turned by position * frequencies[i].
struct Rope {
  absl::Span<const float> frequencies;  // [pair_count], scaling already applied.
};

// What becomes of a row's heads between their projections and the cache, in this order; null where
// a model has no such thing.
//   q, k, v   plus their biases
//   q, k      normed head by head: x * norm / sqrt(mean(x^2) + norm_epsilon) over head_dim
//   q, k      turned
struct HeadTransform {
  Rope rope;
  const float* q_bias = nullptr;  // [heads * head_dim]
  const float* k_bias = nullptr;  // [kv_heads * head_dim]
  const float* v_bias = nullptr;  // [kv_heads * head_dim]
  const float* q_norm = nullptr;  // [head_dim], the same for all heads.
  const float* k_norm = nullptr;  // [head_dim]
  float norm_epsilon = 0;
};

// The rows of a step, grouped by sequence; a sequence's rows are adjacent and their positions
// consecutive.
struct BatchRows {
  int32_t row_count = 0;
  int32_t sequence_count = 0;
  const int32_t* positions = nullptr;        // [row_count]
  const int32_t* sequence_of_row = nullptr;  // [row_count], an index into tables.
  const int32_t* const* tables = nullptr;    // [sequence_count], each a list of PagedKv indices.
};

// What every operation is given beside its operands.
struct OpContext {
  Lane lane = Lane::kDecode;
  absl::Span<uint8_t> scratch;  // At least ScratchBytes(...); aligned to 64; contents undefined.
};

// Thread-safe between lanes: each lane is driven by one thread at a time.
class Backend {
 public:
  virtual ~Backend() = default;

  // "reference", "avx2", "avx512", "amx".
  virtual absl::string_view name() const = 0;

  // Bytes of scratch that any operation needs for `row_count` rows whose input has at most
  // `columns_max` columns.
  virtual size_t ScratchBytes(int32_t row_count, int64_t columns_max) const = 0;

  // INVALID_ARGUMENT when a block scale is not finite, or the bytes do not fit the shape.
  virtual absl::StatusOr<std::unique_ptr<Matrix>> LoadMatrix(const MatrixSource& source) = 0;

  // Brackets one forward pass of a lane. While a decode step runs, prefill's tiles wait.
  virtual void BeginStep(Lane lane) = 0;
  virtual void EndStep(Lane lane) = 0;

  // out[r, :] = table[ids[r], :]. REQUIRES: every id is in [0, table.rows()).
  virtual void Embed(const OpContext& context, const Matrix& table, absl::Span<const int32_t> ids,
                     float* out) = 0;

  // Each output gets its matrix times the normed rows of x. All matrices have the same columns.
  virtual void Linear(const OpContext& context, const float* x, int32_t row_count,
                      const RmsNorm& norm, absl::Span<const LinearOutput> outputs) = 0;

  // out = silu(gate xn) * (up xn), xn the normed x. out: [rows, gate.rows()].
  virtual void SwiGlu(const OpContext& context, const float* x, int32_t row_count,
                      const RmsNorm& norm, const Matrix& gate, const Matrix& up, float* out) = 0;

  // Transforms q [rows, heads * head_dim] and k [rows, kv_heads * head_dim] in place, and stores k
  // and v [rows, kv_heads * head_dim], v's bias added, at each row's position in its sequence's
  // blocks.
  virtual void RopeAndStore(const OpContext& context, const BatchRows& rows,
                            const HeadTransform& transform, int32_t layer, int32_t heads, float* q,
                            float* k, const float* v, const PagedKv& kv) = 0;

  // Causal attention of each row over positions 0 .. its own. Scores are scaled by
  // 1 / sqrt(head_dim); heads / kv_heads query heads share one key head.
  // q, out: [rows, heads * head_dim]. Computed in splits of 256 positions from 0, merged in order.
  virtual void Attention(const OpContext& context, const BatchRows& rows, int32_t layer,
                         int32_t heads, const float* q, const PagedKv& kv, float* out) = 0;
};

}  // namespace ebb::kernels
