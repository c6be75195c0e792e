#include "kernels/reference/reference_backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/status_macros.h"
#include "kernels/dequantize.h"

namespace ebb::kernels {
namespace {

class ReferenceMatrix : public Matrix {
 public:
  ReferenceMatrix(int64_t rows, int64_t columns, std::vector<float> values)
      : rows_(rows), columns_(columns), values_(std::move(values)) {}
  int64_t rows() const override { return rows_; }
  int64_t columns() const override { return columns_; }
  int64_t held_bytes() const override {
    return static_cast<int64_t>(values_.size() * sizeof(float));
  }
  const float* Row(int64_t row) const { return values_.data() + row * columns_; }

 private:
  const int64_t rows_;
  const int64_t columns_;
  const std::vector<float> values_;
};

const ReferenceMatrix& Cast(const Matrix& matrix) {
  return static_cast<const ReferenceMatrix&>(matrix);
}

// Eight running sums, so that the compiler may use vectors; added up in one fixed order.
double Dot(const double* x, const float* w, int64_t count) {
  double sums[8] = {};
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (int j = 0; j < 8; ++j) sums[j] += x[i + j] * static_cast<double>(w[i + j]);
  }
  for (; i < count; ++i) sums[0] += x[i] * static_cast<double>(w[i]);
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

// The normed rows of x, in double. [row_count, columns]
std::vector<double> Normed(const float* x, int32_t row_count, int64_t columns,
                           const RmsNorm& norm) {
  std::vector<double> out(x, x + row_count * columns);
  if (norm.weight == nullptr) return out;
  for (int32_t r = 0; r < row_count; ++r) {
    double* row = out.data() + r * columns;
    double squares = 0;
    for (int64_t i = 0; i < columns; ++i) squares += row[i] * row[i];
    const double scale =
        1.0 / std::sqrt(squares / static_cast<double>(columns) + static_cast<double>(norm.epsilon));
    for (int64_t i = 0; i < columns; ++i) row[i] *= scale * static_cast<double>(norm.weight[i]);
  }
  return out;
}

float LoadKv(DType dtype, const uint8_t* base, int64_t index) {
  if (dtype == DType::kF32) {
    float value;
    std::memcpy(&value, base + 4 * index, sizeof value);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, base + 2 * index, sizeof bits);
  return dtype == DType::kF16 ? HalfToFloat(bits) : Bf16ToFloat(bits);
}

void StoreKv(DType dtype, uint8_t* base, int64_t index, float value) {
  if (dtype == DType::kF32) {
    std::memcpy(base + 4 * index, &value, sizeof value);
    return;
  }
  const uint16_t bits = dtype == DType::kF16 ? FloatToHalf(value) : FloatToBf16(value);
  std::memcpy(base + 2 * index, &bits, sizeof bits);
}

// Where position `position` of a sequence lies: its block's index, and its place in the block.
struct Slot {
  int32_t index;
  int32_t token;
};
Slot SlotOf(const PagedKv& kv, const int32_t* table, int32_t position) {
  return {table[position / kv.block_tokens], position % kv.block_tokens};
}
int64_t KeyIndex(const PagedKv& kv, int32_t head, int32_t dim, int32_t token) {
  return (static_cast<int64_t>(head) * kv.head_dim + dim) * kv.block_tokens + token;
}
int64_t ValueIndex(const PagedKv& kv, int32_t head, int32_t dim, int32_t token) {
  return (static_cast<int64_t>(head) * kv.block_tokens + token) * kv.head_dim + dim;
}

void RotateHead(const Rope& rope, int32_t position, double* head) {
  for (size_t i = 0; i < rope.frequencies.size(); ++i) {
    const double angle = static_cast<double>(position) * static_cast<double>(rope.frequencies[i]);
    const double a = head[2 * i];
    const double b = head[2 * i + 1];
    head[2 * i] = a * std::cos(angle) - b * std::sin(angle);
    head[2 * i + 1] = a * std::sin(angle) + b * std::cos(angle);
  }
}

// Bias, norm and rotation of one query or key head, rounded to float once at the end. `bias` is the
// head's own part.
void TransformHead(const HeadTransform& transform, const float* bias, const float* norm,
                   int32_t head_dim, int32_t position, float* head) {
  std::vector<double> exact(head, head + head_dim);
  for (int32_t d = 0; d < head_dim && bias != nullptr; ++d) exact[d] += bias[d];
  if (norm != nullptr) {
    double squares = 0;
    for (const double x : exact) squares += x * x;
    const double scale = 1.0 / std::sqrt(squares / head_dim + transform.norm_epsilon);
    for (int32_t d = 0; d < head_dim; ++d) exact[d] *= scale * norm[d];
  }
  RotateHead(transform.rope, position, exact.data());
  std::copy(exact.begin(), exact.end(), head);
}

const float* At(const float* bias, int64_t offset) {
  return bias == nullptr ? nullptr : bias + offset;
}

// One query head over positions 0 .. position.
void AttendHead(const PagedKv& kv, int32_t layer, const int32_t* table, int32_t position,
                int32_t kv_head, const float* q, float* out) {
  std::vector<double> weights(static_cast<size_t>(position) + 1);
  double largest = -INFINITY;
  for (int32_t p = 0; p <= position; ++p) {
    const Slot slot = SlotOf(kv, table, p);
    const uint8_t* keys = kv.Keys(layer, slot.index);
    double score = 0;
    for (int32_t d = 0; d < kv.head_dim; ++d) {
      score += static_cast<double>(q[d]) *
               static_cast<double>(LoadKv(kv.dtype, keys, KeyIndex(kv, kv_head, d, slot.token)));
    }
    weights[p] = score / std::sqrt(static_cast<double>(kv.head_dim));
    largest = std::max(largest, weights[p]);
  }
  double total = 0;
  std::vector<double> sums(kv.head_dim);
  for (int32_t p = 0; p <= position; ++p) {
    const double weight = std::exp(weights[p] - largest);
    total += weight;
    const Slot slot = SlotOf(kv, table, p);
    const uint8_t* values = kv.Values(layer, slot.index);
    for (int32_t d = 0; d < kv.head_dim; ++d) {
      sums[d] += weight * static_cast<double>(
                              LoadKv(kv.dtype, values, ValueIndex(kv, kv_head, d, slot.token)));
    }
  }
  for (int32_t d = 0; d < kv.head_dim; ++d) out[d] = static_cast<float>(sums[d] / total);
}

class ReferenceBackend : public Backend {
 public:
  absl::string_view name() const override { return "reference"; }
  size_t ScratchBytes(int32_t, int64_t) const override { return 0; }

  absl::StatusOr<std::unique_ptr<Matrix>> LoadMatrix(const MatrixSource& source) override {
    RETURN_IF_ERROR(CheckMatrix(source));
    std::vector<float> values(static_cast<size_t>(source.rows * source.columns));
    Dequantize(source.dtype, source.bytes, absl::MakeSpan(values));
    return std::make_unique<ReferenceMatrix>(source.rows, source.columns, std::move(values));
  }

  void BeginStep(Lane) override {}
  void EndStep(Lane) override {}

  void Embed(const OpContext&, const Matrix& table, absl::Span<const int32_t> ids,
             float* out) override {
    const ReferenceMatrix& matrix = Cast(table);
    for (size_t r = 0; r < ids.size(); ++r) {
      CHECK(ids[r] >= 0 && ids[r] < matrix.rows());
      std::copy_n(matrix.Row(ids[r]), matrix.columns(), out + r * matrix.columns());
    }
  }

  void Linear(const OpContext&, const float* x, int32_t row_count, const RmsNorm& norm,
              absl::Span<const LinearOutput> outputs) override {
    CHECK(!outputs.empty());
    const int64_t columns = outputs[0].weight->columns();
    const std::vector<double> normed = Normed(x, row_count, columns, norm);
    for (const LinearOutput& output : outputs) {
      const ReferenceMatrix& weight = Cast(*output.weight);
      CHECK_EQ(weight.columns(), columns);
      // Rows of W outside, so that each is read once for all rows of x.
      for (int64_t o = 0; o < weight.rows(); ++o) {
        for (int32_t r = 0; r < row_count; ++r) {
          const double sum = Dot(normed.data() + r * columns, weight.Row(o), columns);
          float* y = output.y + r * weight.rows() + o;
          *y = static_cast<float>(output.accumulate ? static_cast<double>(*y) + sum : sum);
        }
      }
    }
  }

  void SwiGlu(const OpContext&, const float* x, int32_t row_count, const RmsNorm& norm,
              const Matrix& gate, const Matrix& up, float* out) override {
    const int64_t columns = gate.columns();
    CHECK_EQ(up.columns(), columns);
    CHECK_EQ(up.rows(), gate.rows());
    const std::vector<double> normed = Normed(x, row_count, columns, norm);
    for (int64_t o = 0; o < gate.rows(); ++o) {
      for (int32_t r = 0; r < row_count; ++r) {
        const double* row = normed.data() + r * columns;
        const double g = Dot(row, Cast(gate).Row(o), columns);
        const double u = Dot(row, Cast(up).Row(o), columns);
        out[r * gate.rows() + o] = static_cast<float>(g / (1.0 + std::exp(-g)) * u);
      }
    }
  }

  void RopeAndStore(const OpContext&, const BatchRows& rows, const HeadTransform& transform,
                    int32_t layer, int32_t heads, float* q, float* k, const float* v,
                    const PagedKv& kv) override {
    const int32_t dims = kv.head_dim;
    CHECK_LE(2 * transform.rope.frequencies.size(), static_cast<size_t>(dims));
    for (int32_t r = 0; r < rows.row_count; ++r) {
      const int32_t position = rows.positions[r];
      const Slot slot = SlotOf(kv, rows.tables[rows.sequence_of_row[r]], position);
      for (int32_t h = 0; h < heads; ++h) {
        TransformHead(transform, At(transform.q_bias, h * dims), transform.q_norm, dims, position,
                      q + (static_cast<int64_t>(r) * heads + h) * dims);
      }
      for (int32_t h = 0; h < kv.kv_heads; ++h) {
        const int64_t at = (static_cast<int64_t>(r) * kv.kv_heads + h) * dims;
        const float* v_bias = At(transform.v_bias, h * dims);
        TransformHead(transform, At(transform.k_bias, h * dims), transform.k_norm, dims, position,
                      k + at);
        for (int32_t d = 0; d < dims; ++d) {
          StoreKv(kv.dtype, kv.Keys(layer, slot.index), KeyIndex(kv, h, d, slot.token), k[at + d]);
          StoreKv(kv.dtype, kv.Values(layer, slot.index), ValueIndex(kv, h, d, slot.token),
                  v_bias == nullptr ? v[at + d] : v[at + d] + v_bias[d]);
        }
      }
    }
  }

  void Attention(const OpContext&, const BatchRows& rows, int32_t layer, int32_t heads,
                 const float* q, const PagedKv& kv, float* out) override {
    CHECK_EQ(heads % kv.kv_heads, 0);
    const int32_t group = heads / kv.kv_heads;
    for (int32_t r = 0; r < rows.row_count; ++r) {
      const int32_t* table = rows.tables[rows.sequence_of_row[r]];
      for (int32_t h = 0; h < heads; ++h) {
        const int64_t at = (static_cast<int64_t>(r) * heads + h) * kv.head_dim;
        AttendHead(kv, layer, table, rows.positions[r], h / group, q + at, out + at);
      }
    }
  }
};

}  // namespace

std::unique_ptr<Backend> MakeReferenceBackend() { return std::make_unique<ReferenceBackend>(); }

}  // namespace ebb::kernels
