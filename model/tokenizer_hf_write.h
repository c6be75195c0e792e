// Writes a tokenizer as the tokenizer.json that tokenizer_hf.h reads.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "model/tokenizer.h"

namespace ebb::model {

// The text of a tokenizer.json of byte-level BPE. Unused tokens are left out: their ids have no
// text. UNIMPLEMENTED for a pre-tokenizer that has no published form. REQUIRES: Tokenizer::Create
// took `data`.
absl::StatusOr<std::string> TokenizerJsonText(const TokenizerData& data);

// Texts begin with the beginning-of-sequence token.
bool AddsBos(const TokenizerData& data);

}  // namespace ebb::model
