// ModelConfig: the shape of a llama-family model.
//
// Whoever reads one from a file (gguf_config.h, hf_config.h) checks everything against everything
// else first (hyperparameters against ModelBounds, tensors against hyperparameters), so that later
// code may multiply and index without asking again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ebb::model {

// Bounds far above any llama model in use; below them no product of two overflows 64 bits, and of
// one with a row count 32 bits.
struct ModelBounds {
  static constexpr int32_t kLayersMax = 1024;
  static constexpr int32_t kWidthMax = 1 << 17;
  static constexpr int32_t kFfnWidthMax = 1 << 19;
  static constexpr int32_t kHeadsMax = 1024;
  static constexpr int32_t kHeadDimMax = 1024;
  static constexpr int32_t kContextMax = 1 << 24;
  static constexpr int32_t kVocabMax = 1 << 22;
  static constexpr double kRopeScaleMax = 1e6;
  static constexpr double kRopeBaseMin = 1.0;
  static constexpr double kRopeBaseMax = 1e12;
  static constexpr double kRmsEpsilonMin = 1e-12;
  static constexpr double kRmsEpsilonMax = 0.1;
};

// How rope's frequencies were stretched for longer contexts.
struct RopeScaling {
  enum class Type {
    kNone,
    kLinear,   // All divided by `factor`.
    kLlama3,   // Llama 3.1's: low ones divided by `factor`, high ones kept, a ramp between.
    kFactors,  // A divisor each, from a file; only the frequencies tell which.
  };
  Type type = Type::kNone;
  double factor = 1;
  double low_frequency_factor = 1;  // These three for kLlama3 only.
  double high_frequency_factor = 4;
  double original_context_tokens = 8192;
};

struct ModelConfig {
  std::string architecture;  // "llama", "qwen2" or "qwen3".
  std::string name;          // What the model calls itself, or "". Any bytes.
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
  // What the frequencies were made from; only for writing the model out again.
  double rope_base = 0;
  RopeScaling rope_scaling;

  // Bytes of keys and values of one token over all layers, at `element_bytes` a number.
  int64_t KvBytesPerToken(int64_t element_bytes) const {
    return int64_t{2} * layers * kv_heads * head_dim * element_bytes;
  }
};

// The frequencies of `pair_count` pairs: pair i turns by base^(-i / pair_count), scaled. kFactors
// counts as kNone here. llama3's scaling is that of Meta's llama-models (apply_scaling).
std::vector<float> RopeFrequencies(double base, int32_t pair_count, const RopeScaling& scaling);

}  // namespace ebb::model
