// A Hugging Face config.json's ModelConfig.
#pragma once

#include "absl/status/statusor.h"
#include "model/json_document.h"
#include "model/model_config.h"

namespace ebb::model {

// LlamaForCausalLM, MistralForCausalLM without a sliding window, Qwen2ForCausalLM and
// Qwen3ForCausalLM, as transformers reads them (versions 4 and 5 differ in where rope's numbers
// stand). Numbers are checked against ModelBounds and each other, not against tensors yet.
// UNIMPLEMENTED names what Ebb cannot run; errors read as load_error.h says.
absl::StatusOr<ModelConfig> ReadHfConfig(const JsonDocument& json);

}  // namespace ebb::model
