// WeightSource: a model's configuration and weights by what they are, whatever file they come from.
//
//   GGUF file ----------------------+
//   Hugging Face directory ---------+--> WeightSource --> LlamaModel (CPU), CudaLlama
//     (config.json, *.safetensors)  |
//   random:SHAPE (no file at all) --+
//
// A source hides the differences in names and in order: query and key rows (their biases and norms
// too) come in the order of kernels/backend.h's Rope, pair i being dimensions (2i, 2i + 1) of a
// head. Files that keep a pair as (i, i + rope_pairs) are reordered while they are read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kernels/dtype.h"
#include "model/model_config.h"

namespace ebb::model {

enum class WeightKind {
  kEmbedding,      // [vocab, width]
  kOutputNorm,     // [width]
  kHead,           // [vocab, width]; absent when the head is the embedding.
  kAttentionNorm,  // [width]; this and what follows once for each layer.
  kQ,              // [heads * head_dim, width]
  kK,              // [kv_heads * head_dim, width]
  kV,              // [kv_heads * head_dim, width]
  kQBias,          // [heads * head_dim]; these three where ModelConfig::qkv_bias.
  kKBias,          // [kv_heads * head_dim]
  kVBias,          // [kv_heads * head_dim]
  kQNorm,          // [head_dim]; these two where ModelConfig::qk_norm.
  kKNorm,          // [head_dim]
  kAttentionOut,   // [width, heads * head_dim]
  kFfnNorm,        // [width]
  kGate,           // [ffn_width, width]
  kUp,             // [ffn_width, width]
  kDown,           // [width, ffn_width]
};

// One weight of a model.
struct WeightId {
  WeightKind kind = WeightKind::kEmbedding;
  int32_t layer = 0;  // 0 for what a model has once.
};

struct WeightShape {
  int64_t rows = 0;  // 1 for a vector.
  int64_t columns = 0;
  bool is_vector = false;
};

struct WeightTensor {
  kernels::DType dtype = kernels::DType::kF32;
  int64_t rows = 0;  // 1 for a vector.
  int64_t columns = 0;
  std::vector<uint8_t> bytes;
};

// A weight that is made of random numbers: element i is RandomWeight of `first_index` + i
// (random_weights.h), so that any part of it can be made anywhere, a device's memory included.
struct RandomFill {
  uint64_t seed = 0;
  uint64_t first_index = 0;
  float scale = 0;  // Elements are in [-scale, scale).
};

// Immutable, so thread-safe.
class WeightSource {
 public:
  virtual ~WeightSource() = default;

  // The path that it was opened by, for messages.
  virtual const std::string& name() const = 0;
  virtual const ModelConfig& config() const = 0;
  // Bytes of all weights as the source has them; for progress.
  virtual int64_t total_bytes() const = 0;
  // Reads one weight; its shape has been checked against the configuration. `layer` is 0 for what a
  // model has once. DATA_LOSS when reading fails, INVALID_ARGUMENT (reason=nonfinite) when a number
  // or a scale is not finite. REQUIRES: the configuration says that the model has this weight.
  virtual absl::StatusOr<WeightTensor> Read(WeightKind kind, int32_t layer) const = 0;
  // How to make the weight without reading it, where it is random; Read gives the same numbers.
  virtual std::optional<RandomFill> Random(WeightKind, int32_t) const { return std::nullopt; }
};

// Every weight of a model, in the order in which they are best loaded.
std::vector<WeightId> WeightsOf(const ModelConfig& config);

WeightShape ShapeOf(const ModelConfig& config, WeightKind kind);

// Once for each layer; else once for the model.
bool IsPerLayer(WeightKind kind);

// "layer 3 attention_out", "embedding"; for messages.
std::string NameOf(WeightId id);

// Brings a tensor whose heads keep pair i in rows (i, i + rope_pairs) into the order of this
// interface, head by head; rows from 2 * rope_pairs on stay. A vector's rows are its elements.
// REQUIRES: whole heads; a vector of a plain format; `rope_pairs` * 2 <= `head_dim`.
void InterleaveRopePairs(int32_t head_dim, int32_t rope_pairs, WeightTensor* tensor);
// The other way round, for files in that order.
void SplitRopePairs(int32_t head_dim, int32_t rope_pairs, WeightTensor* tensor);

// Whether the rows of a weight come in rope's pairs.
bool HasRopePairs(WeightKind kind);

// INVALID_ARGUMENT (reason=nonfinite), naming file and tensor, unless all numbers and scales of
// `tensor` are finite. `tensor_name` must be printable.
absl::Status CheckFinite(absl::string_view file, absl::string_view tensor_name,
                         const WeightTensor& tensor);

// A vector's numbers. REQUIRES: a plain format.
std::vector<float> ToFloats(const WeightTensor& tensor);

}  // namespace ebb::model
