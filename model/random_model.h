// random:SHAPE: a model of a known shape with random weights, made without any file.
//
// For measuring and for testing: its answers are noise, but every matrix has the size, and the
// stream of activations about the spread, of the real model. The same shape gives the same numbers
// everywhere; matrices can be made in a device's memory (WeightSource::Random).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/tokenizer.h"
#include "model/weight_source.h"

namespace ebb::model {

// "llama-3.1-8b", "tiny-qwen2", ...
std::vector<absl::string_view> RandomShapes();

// `path` is "random:" and a shape. INVALID_ARGUMENT (reason=shape) names the shapes there are.
// Matrices are bf16, uniform in +-sqrt(3 / inputs); norms are ones, biases small.
absl::StatusOr<std::unique_ptr<const WeightSource>> RandomWeightSource(const std::string& path);

// A token for each byte, <|endoftext|>, <|im_start|> and <|im_end|>, and unused ones up to `vocab`.
// REQUIRES: `vocab` >= 259.
TokenizerData ByteTokenizerData(const std::string& source, const std::string& pre, int32_t vocab);

// A chat template for those tokens.
extern const char kChatMlTemplate[];

}  // namespace ebb::model
