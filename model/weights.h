// LlamaWeights: a model's matrices in the backend's layout, and its norms.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "model/weight_source.h"

namespace ebb::model {

// Told the bytes of weights (as the source has them) done, and in all.
using LoadProgress = std::function<void(int64_t bytes_done, int64_t bytes_total)>;

struct LlamaLayer {
  std::vector<float> attention_norm;               // [width]
  std::unique_ptr<kernels::Matrix> q;              // [heads * head_dim, width]
  std::unique_ptr<kernels::Matrix> k;              // [kv_heads * head_dim, width]
  std::unique_ptr<kernels::Matrix> v;              // [kv_heads * head_dim, width]
  std::vector<float> q_bias;                       // [heads * head_dim], or empty.
  std::vector<float> k_bias;                       // [kv_heads * head_dim], or empty.
  std::vector<float> v_bias;                       // [kv_heads * head_dim], or empty.
  std::vector<float> q_norm;                       // [head_dim], or empty.
  std::vector<float> k_norm;                       // [head_dim], or empty.
  std::unique_ptr<kernels::Matrix> attention_out;  // [width, heads * head_dim]
  std::vector<float> ffn_norm;                     // [width]
  std::unique_ptr<kernels::Matrix> gate;           // [ffn_width, width]
  std::unique_ptr<kernels::Matrix> up;             // [ffn_width, width]
  std::unique_ptr<kernels::Matrix> down;           // [width, ffn_width]
};

struct LlamaWeights {
  std::unique_ptr<kernels::Matrix> embedding;  // [vocab, width]
  std::vector<LlamaLayer> layers;
  std::vector<float> output_norm;             // [width]
  std::unique_ptr<kernels::Matrix> own_head;  // [vocab, width]; null when tied.
  int64_t held_bytes = 0;

  const kernels::Matrix& head() const { return own_head == nullptr ? *embedding : *own_head; }
};

// Each weight's own bytes are freed once the backend has packed them. Errors are the source's, and
// the backend's (reason=pack) with the name of the weight.
absl::StatusOr<LlamaWeights> LoadLlamaWeights(const WeightSource& source, kernels::Backend* backend,
                                              const LoadProgress& progress);

}  // namespace ebb::model
