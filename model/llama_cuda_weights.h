// CudaLlamaWeights: a model's weights in a CUDA device's memory, in one piece.
//
//   [ embedding | output_norm | head | layer 0: norm, q k v, bias, .. gate up, down | .. | rope ]
//                                               one matrix            one matrix
//
// Matrices are bf16, whatever the source has; vectors float32. q, k and v lie together and so do
// gate and up, so that each is one product. A tied head is the embedding.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "device/cuda/cuda_device.h"
#include "model/model_config.h"
#include "model/weight_source.h"

namespace ebb::model {

// Device addresses.
struct CudaLlamaLayer {
  const float* attention_norm = nullptr;    // [width]
  const uint16_t* qkv = nullptr;            // [(heads + 2 * kv_heads) * head_dim, width]
  const float* qkv_bias = nullptr;          // [(heads + 2 * kv_heads) * head_dim], or null.
  const float* q_norm = nullptr;            // [head_dim], or null.
  const float* k_norm = nullptr;            // [head_dim], or null.
  const uint16_t* attention_out = nullptr;  // [width, heads * head_dim]
  const float* ffn_norm = nullptr;          // [width]
  const uint16_t* gate_up = nullptr;        // [2 * ffn_width, width]
  const uint16_t* down = nullptr;           // [width, ffn_width]
};

// Told the bytes of device memory filled, and those of all weights.
using CudaLoadProgress = std::function<void(int64_t bytes_done, int64_t bytes_total)>;

// Immutable. The device outlives it, and no work reads it when it goes.
class CudaLlamaWeights {
 public:
  // Goes through two pinned buffers of a fixed size: while one is copied, the next is converted.
  // Random weights (WeightSource::Random) are made by the device itself. Host memory at the peak:
  // the buffers and one tensor of the source.
  // RESOURCE_EXHAUSTED, with the numbers, when the device has too little memory; INVALID_ARGUMENT
  // (reason=nonfinite) for a number that is not finite in bf16; the source's errors.
  static absl::StatusOr<std::unique_ptr<CudaLlamaWeights>> Load(const WeightSource& source,
                                                                device::CudaDevice* device,
                                                                const CudaLoadProgress& progress);
  CudaLlamaWeights(const CudaLlamaWeights&) = delete;
  CudaLlamaWeights& operator=(const CudaLlamaWeights&) = delete;

  // Bytes that the weights of such a model take.
  static int64_t BytesOf(const ModelConfig& config);

  const uint16_t* embedding() const { return embedding_; }  // [vocab, width]
  const uint16_t* head() const { return head_; }            // [vocab, width]
  const float* output_norm() const { return output_norm_; }
  const float* rope_frequencies() const { return rope_frequencies_; }  // [rope pairs]
  const CudaLlamaLayer& layer(int32_t index) const { return layers_[index]; }
  int64_t bytes() const { return memory_.bytes(); }

 private:
  CudaLlamaWeights() = default;
  void Point(const ModelConfig& config);

  device::CudaBuffer memory_;
  const uint16_t* embedding_ = nullptr;
  const uint16_t* head_ = nullptr;
  const float* output_norm_ = nullptr;
  const float* rope_frequencies_ = nullptr;
  std::vector<CudaLlamaLayer> layers_;
};

}  // namespace ebb::model
