// make_model: writes a model as a Hugging Face directory: one made at random of a known shape, so
// that a host without a network has something to serve and to measure, or any other that Ebb reads.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/dtype.h"

namespace ebb::tools {

struct MakeModelOptions {
  std::string model;   // "random:SHAPE", a GGUF file or a Hugging Face directory.
  std::string output;  // A directory that is new or empty.
  kernels::DType dtype = kernels::DType::kBF16;
};

// INVALID_ARGUMENT ends with the usage, which names the shapes.
absl::StatusOr<MakeModelOptions> ParseMakeModel(absl::Span<const std::string> arguments);

// RESOURCE_EXHAUSTED unless `free_bytes` hold `needed_bytes` of weights and what goes with them.
absl::Status CheckSpace(const std::string& output, int64_t needed_bytes, int64_t free_bytes);

// Writes the model; what it does goes to `progress`, a line each. ALREADY_EXISTS when the output
// directory holds anything; nothing is written then, nor when the disk is too small. After another
// error the directory holds a part of a model.
absl::Status MakeModel(const MakeModelOptions& options, std::ostream& progress);

}  // namespace ebb::tools
