// Reads a tokenizer's description out of a Hugging Face directory.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/tokenizer.h"

namespace ebb::model {

// Byte-level BPE in tokenizer.json (the tokenizers library's form): what it does is compared part
// by part with what Tokenizer does, and everything else is UNIMPLEMENTED by its name. One
// difference is accepted: text is not brought into NFC first (see README.md). tokenizer_config.json
// names the special tokens; what ends an answer comes from it, generation_config.json, and, where
// that is absent, config.json. Rows of the embedding without a token become unused tokens. Errors
// read as load_error.h says. REQUIRES: `vocab` > 0, the rows of an embedding that is there.
absl::StatusOr<TokenizerData> TokenizerDataFromHf(const std::string& directory, int32_t vocab);

// The pre-tokenizer, by the name that pretokenizer.h has for it, whose split pattern is `regex`; ""
// for none.
absl::string_view PretokenizerOfRegex(absl::string_view regex);

// The pattern of one of those names, as tokenizer.json writes it; "" for none.
absl::string_view RegexOfPretokenizer(absl::string_view pre);

}  // namespace ebb::model
