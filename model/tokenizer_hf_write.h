// Writes a tokenizer as the files of a Hugging Face directory that tokenizer_hf.h reads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "model/tokenizer.h"

namespace ebb::model {

// The text of a tokenizer.json of byte-level BPE. Unused tokens are left out: their ids have no
// text. UNIMPLEMENTED for a pre-tokenizer that has no published form. REQUIRES: Tokenizer::Create
// took `data`.
absl::StatusOr<std::string> TokenizerJsonText(const TokenizerData& data);

// The text of the tokenizer_config.json beside it.
std::string TokenizerConfigText(const Tokenizer& tokenizer, int64_t context_tokens,
                                const std::optional<std::string>& chat_template);

// Texts begin with the beginning-of-sequence token.
bool AddsBos(const TokenizerData& data);

}  // namespace ebb::model
