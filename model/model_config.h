// ModelConfig: the shape of a llama-family model, from a GGUF file's metadata and tensor table.
//
// Everything is checked against everything else here (hyperparameters against bounds, tensors
// against hyperparameters, vocabulary metadata against the embedding), so that later code may
// multiply and index without asking again. Errors read as load_error.h says.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/gguf.h"

namespace ebb::model {

struct ModelConfig {
  std::string architecture;  // "llama", "qwen2" or "qwen3".
  std::string name;          // general.name, or "". Any bytes.
  int32_t layers = 0;
  int32_t width = 0;      // Of the residual stream.
  int32_t ffn_width = 0;  // Of the feed-forward network's inside.
  int32_t heads = 0;
  int32_t kv_heads = 0;
  int32_t head_dim = 0;
  int32_t context_tokens = 0;  // What the model was trained for.
  int32_t vocab = 0;           // Rows of the embedding, so the width of the logits.
  float rms_epsilon = 0;
  bool tied_head = false;  // The head is the embedding.
  bool qkv_bias = false;   // Queries, keys and values have biases (qwen2).
  bool qk_norm = false;    // Each query and key head is normed before its rotation (qwen3).
  // [rope_pairs], radians per position for each pair of dimensions; scaling is already applied.
  std::vector<float> rope_frequencies;

  // Bytes of keys and values of one token over all layers, at `element_bytes` a number.
  int64_t KvBytesPerToken(int64_t element_bytes) const {
    return int64_t{2} * layers * kv_heads * head_dim * element_bytes;
  }
};

// UNIMPLEMENTED for an architecture, a rope scaling or a tensor that Ebb does not know;
// INVALID_ARGUMENT for contradictions. Reads only the small rope_freqs tensor.
absl::StatusOr<ModelConfig> ReadModelConfig(const GgufFile& file);

}  // namespace ebb::model
