// The weights of a Hugging Face directory: model.safetensors, or the shards that
// model.safetensors.index.json names.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/model_config.h"
#include "model/weight_source.h"

namespace ebb::model {

// "model.layers.3.self_attn.q_proj.weight" for layer 3's kQ.
std::string HfTensorName(WeightId id);

// Opens and checks the files' tables of tensors, and keeps the files open. `directory` has no
// slash at its end. Every tensor that `config` calls for must be there in its shape (reasons
// missing, shape), and none may be there that would change what the model computes (extra, or
// UNIMPLEMENTED for what variants have). `warnings` gets what is odd.
absl::StatusOr<std::unique_ptr<const WeightSource>> HfWeightSource(
    const std::string& directory, ModelConfig config, std::vector<std::string>* warnings);

}  // namespace ebb::model
