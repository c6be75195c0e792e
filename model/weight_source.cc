#include "model/weight_source.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/check.h"
#include "kernels/dequantize.h"
#include "model/load_error.h"

namespace ebb::model {
namespace {

absl::string_view KindName(WeightKind kind) {
  switch (kind) {
    case WeightKind::kEmbedding:
      return "embedding";
    case WeightKind::kOutputNorm:
      return "output_norm";
    case WeightKind::kHead:
      return "head";
    case WeightKind::kAttentionNorm:
      return "attention_norm";
    case WeightKind::kQ:
      return "q";
    case WeightKind::kK:
      return "k";
    case WeightKind::kV:
      return "v";
    case WeightKind::kQBias:
      return "q_bias";
    case WeightKind::kKBias:
      return "k_bias";
    case WeightKind::kVBias:
      return "v_bias";
    case WeightKind::kQNorm:
      return "q_norm";
    case WeightKind::kKNorm:
      return "k_norm";
    case WeightKind::kAttentionOut:
      return "attention_out";
    case WeightKind::kFfnNorm:
      return "ffn_norm";
    case WeightKind::kGate:
      return "gate";
    case WeightKind::kUp:
      return "up";
    case WeightKind::kDown:
      return "down";
  }
  return "?";
}

WeightShape VectorOf(int64_t columns) { return {1, columns, true}; }
WeightShape MatrixOf(int64_t rows, int64_t columns) { return {rows, columns, false}; }

// The place of pair member `row` (of a head in split order) once pairs are interleaved.
int64_t InterleavedPlace(int64_t row, int32_t rope_pairs) {
  if (row >= 2 * int64_t{rope_pairs}) return row;
  return row < rope_pairs ? 2 * row : 2 * (row - rope_pairs) + 1;
}

// Whether any number of `bytes` has an exponent of all ones: infinities and NaNs. Weights come by
// the gigabyte, so this runs without a branch for each.
template <typename Bits>
bool HasFullExponent(absl::Span<const uint8_t> bytes, Bits exponent_mask) {
  bool found = false;
  for (size_t i = 0; i + sizeof(Bits) <= bytes.size(); i += sizeof(Bits)) {
    Bits bits;
    std::memcpy(&bits, bytes.data() + i, sizeof(bits));
    found |= (bits & exponent_mask) == exponent_mask;
  }
  return found;
}

// True when all numbers are surely finite; false when a look at each must tell.
bool IsPlainAndFinite(const WeightTensor& tensor) {
  switch (tensor.dtype) {
    case kernels::DType::kF32:
      return !HasFullExponent<uint32_t>(tensor.bytes, 0x7F800000u);
    case kernels::DType::kF16:
      return !HasFullExponent<uint16_t>(tensor.bytes, 0x7C00);
    case kernels::DType::kBF16:
      return !HasFullExponent<uint16_t>(tensor.bytes, 0x7F80);
    default:
      return false;
  }
}

void Reorder(int32_t head_dim, int32_t rope_pairs, bool to_interleaved, WeightTensor* tensor) {
  const bool is_vector = tensor->rows == 1;
  const int64_t row_count = is_vector ? tensor->columns : tensor->rows;
  CHECK(head_dim > 0 && rope_pairs >= 0 && 2 * rope_pairs <= head_dim);
  CHECK_EQ(row_count % head_dim, 0);
  CHECK(!is_vector || kernels::TraitsOf(tensor->dtype).block_elements == 1);
  const size_t row_bytes = tensor->bytes.size() / static_cast<size_t>(row_count);
  CHECK_EQ(row_bytes * static_cast<size_t>(row_count), tensor->bytes.size());
  const size_t head_bytes = row_bytes * static_cast<size_t>(head_dim);
  std::vector<uint8_t> head(head_bytes);
  for (size_t begin = 0; begin < tensor->bytes.size(); begin += head_bytes) {
    uint8_t* const rows = tensor->bytes.data() + begin;
    std::memcpy(head.data(), rows, head_bytes);
    for (int64_t row = 0; row < 2 * int64_t{rope_pairs}; ++row) {
      const int64_t place = InterleavedPlace(row, rope_pairs);
      const size_t from = static_cast<size_t>(to_interleaved ? row : place);
      const size_t to = static_cast<size_t>(to_interleaved ? place : row);
      std::memcpy(rows + to * row_bytes, head.data() + from * row_bytes, row_bytes);
    }
  }
}

}  // namespace

bool IsPerLayer(WeightKind kind) {
  return kind != WeightKind::kEmbedding && kind != WeightKind::kOutputNorm &&
         kind != WeightKind::kHead;
}

bool HasRopePairs(WeightKind kind) {
  return kind == WeightKind::kQ || kind == WeightKind::kK || kind == WeightKind::kQBias ||
         kind == WeightKind::kKBias || kind == WeightKind::kQNorm || kind == WeightKind::kKNorm;
}

std::string NameOf(WeightId id) {
  if (!IsPerLayer(id.kind)) return std::string(KindName(id.kind));
  return absl::StrCat("layer ", id.layer, " ", KindName(id.kind));
}

WeightShape ShapeOf(const ModelConfig& config, WeightKind kind) {
  const int64_t q_width = int64_t{config.heads} * config.head_dim;
  const int64_t kv_width = int64_t{config.kv_heads} * config.head_dim;
  switch (kind) {
    case WeightKind::kEmbedding:
    case WeightKind::kHead:
      return MatrixOf(config.vocab, config.width);
    case WeightKind::kOutputNorm:
    case WeightKind::kAttentionNorm:
    case WeightKind::kFfnNorm:
      return VectorOf(config.width);
    case WeightKind::kQ:
      return MatrixOf(q_width, config.width);
    case WeightKind::kK:
    case WeightKind::kV:
      return MatrixOf(kv_width, config.width);
    case WeightKind::kQBias:
      return VectorOf(q_width);
    case WeightKind::kKBias:
    case WeightKind::kVBias:
      return VectorOf(kv_width);
    case WeightKind::kQNorm:
    case WeightKind::kKNorm:
      return VectorOf(config.head_dim);
    case WeightKind::kAttentionOut:
      return MatrixOf(config.width, q_width);
    case WeightKind::kGate:
    case WeightKind::kUp:
      return MatrixOf(config.ffn_width, config.width);
    case WeightKind::kDown:
      return MatrixOf(config.width, config.ffn_width);
  }
  return {};
}

std::vector<WeightId> WeightsOf(const ModelConfig& config) {
  std::vector<WeightId> ids = {{WeightKind::kEmbedding, 0}, {WeightKind::kOutputNorm, 0}};
  if (!config.tied_head) ids.push_back({WeightKind::kHead, 0});
  std::vector<WeightKind> kinds = {WeightKind::kAttentionNorm, WeightKind::kQ, WeightKind::kK,
                                   WeightKind::kV};
  if (config.qkv_bias) {
    kinds.insert(kinds.end(), {WeightKind::kQBias, WeightKind::kKBias, WeightKind::kVBias});
  }
  if (config.qk_norm) kinds.insert(kinds.end(), {WeightKind::kQNorm, WeightKind::kKNorm});
  kinds.insert(kinds.end(), {WeightKind::kAttentionOut, WeightKind::kFfnNorm, WeightKind::kGate,
                             WeightKind::kUp, WeightKind::kDown});
  for (int32_t layer = 0; layer < config.layers; ++layer) {
    for (const WeightKind kind : kinds) ids.push_back({kind, layer});
  }
  return ids;
}

void InterleaveRopePairs(int32_t head_dim, int32_t rope_pairs, WeightTensor* tensor) {
  Reorder(head_dim, rope_pairs, /*to_interleaved=*/true, tensor);
}

void SplitRopePairs(int32_t head_dim, int32_t rope_pairs, WeightTensor* tensor) {
  Reorder(head_dim, rope_pairs, /*to_interleaved=*/false, tensor);
}

absl::Status CheckFinite(absl::string_view file, absl::string_view tensor_name,
                         const WeightTensor& tensor) {
  if (IsPlainAndFinite(tensor)) return absl::OkStatus();
  kernels::MatrixSource source;
  source.dtype = tensor.dtype;
  source.rows = tensor.rows;
  source.columns = tensor.columns;
  source.bytes = tensor.bytes;
  const absl::Status status = kernels::CheckMatrix(source);
  if (status.ok()) return absl::OkStatus();
  return LoadError(absl::StatusCode::kInvalidArgument, file, "nonfinite", kNoOffset,
                   absl::StrCat("tensor ", tensor_name, ": ", status.message(),
                                ". The file is damaged: fetch it again."));
}

std::vector<float> ToFloats(const WeightTensor& tensor) {
  CHECK_EQ(kernels::TraitsOf(tensor.dtype).block_elements, 1);
  std::vector<float> numbers(static_cast<size_t>(tensor.rows * tensor.columns));
  kernels::Dequantize(tensor.dtype, tensor.bytes, absl::MakeSpan(numbers));
  return numbers;
}

}  // namespace ebb::model
