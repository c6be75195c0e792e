// The tensors of a llama-family model in a GGUF file: their names and shapes.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "model/gguf.h"
#include "model/model_config.h"
#include "model/weight_source.h"

namespace ebb::model {

inline constexpr absl::string_view kRopeFactorsTensor = "rope_freqs.weight";  // Optional.

// "blk.3.attn_q.weight" for layer 3's kQ.
std::string GgufTensorName(WeightId id);

// Whether the file has the model's or, of what each layer has, the first layer's.
bool HasGgufTensor(const GgufFile& file, WeightKind kind);

// Every tensor that `config` calls for is there in its shape (reasons missing, shape), vectors are
// F32, and there is no other (reason extra; UNIMPLEMENTED, reason unsupported, for the parts of
// llama variants that Ebb cannot run: other biases and experts).
absl::Status CheckGgufTensors(const GgufFile& file, const ModelConfig& config);

}  // namespace ebb::model
