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
#include <string>
#include <vector>

#include "absl/status/statusor.h"
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

struct WeightTensor {
  kernels::DType dtype = kernels::DType::kF32;
  int64_t rows = 0;  // 1 for a vector.
  int64_t columns = 0;
  std::vector<uint8_t> bytes;
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
};

}  // namespace ebb::model
