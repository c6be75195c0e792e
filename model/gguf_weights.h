// The weights of a GGUF file.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "model/gguf.h"
#include "model/weight_source.h"

namespace ebb::model {

// Checks that the file holds a model that can run (gguf_config.h), and keeps the file open.
// llama's query and key rows lie in rope's pairs already; those of qwen2 and qwen3 are reordered
// when they are read.
absl::StatusOr<std::unique_ptr<const WeightSource>> GgufWeightSource(
    std::shared_ptr<const GgufFile> file);

}  // namespace ebb::model
