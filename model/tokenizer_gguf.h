// Reads a tokenizer's description out of a GGUF file.
#pragma once

#include "absl/status/statusor.h"
#include "model/gguf.h"
#include "model/tokenizer.h"

namespace ebb::model {

// The tokenizer.ggml.* keys of `file`, unchecked but for their types. Errors read as load_error.h
// says: a key that must be there is missing, or has another type.
absl::StatusOr<TokenizerData> TokenizerDataFromGguf(const GgufFile& file);

}  // namespace ebb::model
