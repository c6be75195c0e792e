// ExportHf: writes a model, wherever it came from, as a Hugging Face directory.
//
//   config.json  generation_config.json  tokenizer.json  tokenizer_config.json
//   model.safetensors, or model-00001-of-0000N.safetensors ... and model.safetensors.index.json
//
// OpenModel and transformers' Auto classes (from version 4.45 on) read it.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "kernels/dtype.h"
#include "model/open_model.h"
#include "model/weights.h"

namespace ebb::model {

struct ExportOptions {
  kernels::DType dtype = kernels::DType::kBF16;  // Or kF32; of all weights.
  int64_t shard_bytes_max = int64_t{5'000'000'000};
};

// Writes into `directory`, which must be new or empty. Other formats are dequantised; a file holds
// as many tensors as fit in shard_bytes_max, but at least one. One tensor is in memory at a time.
// UNIMPLEMENTED when config.json cannot say what the model is: a rope known by its frequencies
// only, or over a part of a head; biases together with norms of heads. After an error the directory
// holds a part of a model.
absl::Status ExportHf(const OpenedModel& model, const std::string& directory,
                      const ExportOptions& options, const LoadProgress& progress = nullptr);

}  // namespace ebb::model
