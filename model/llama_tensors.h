// The tensors of a llama model in a GGUF file: their names and shapes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "model/gguf.h"
#include "model/model_config.h"

namespace ebb::model {

inline constexpr absl::string_view kEmbeddingTensor = "token_embd.weight";
inline constexpr absl::string_view kOutputNormTensor = "output_norm.weight";
inline constexpr absl::string_view kHeadTensor = "output.weight";             // Absent when tied.
inline constexpr absl::string_view kRopeFactorsTensor = "rope_freqs.weight";  // Optional.

// "blk.3.attn_q.weight" for (3, "attn_q").
std::string LayerTensorName(int32_t layer, absl::string_view part);

// Every tensor that `config` calls for is there in its shape (reasons missing, shape), norms are
// F32, and there is no other (reason extra; UNIMPLEMENTED, reason unsupported, for the parts of
// llama variants that Ebb cannot run: biases and experts).
absl::Status CheckLlamaTensors(const GgufFile& file, const ModelConfig& config);

}  // namespace ebb::model
