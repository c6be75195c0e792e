// A GGUF file's ModelConfig: its metadata and its table of tensors, checked against each other.
//
// Errors read as load_error.h says.
#pragma once

#include "absl/status/statusor.h"
#include "model/gguf.h"
#include "model/model_config.h"

namespace ebb::model {

// UNIMPLEMENTED for an architecture, a rope scaling or a tensor that Ebb does not know;
// INVALID_ARGUMENT for contradictions. Reads only the small rope_freqs tensor.
absl::StatusOr<ModelConfig> ReadGgufConfig(const GgufFile& file);

}  // namespace ebb::model
