// The shape of a file's vocabulary metadata, compared with the model's embedding.
//
// What the tokens and merges mean is the tokenizer's business; here are lengths, types and ids, so
// that no later code indexes one array by another's length.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "model/gguf.h"

namespace ebb::model {

// tokens, token_type and scores have `vocab` entries of their types, vocab_size says the same, and
// every "tokenizer.ggml.*_token_id" is in [0, vocab). Keys that are absent are not asked for: a
// model without a tokenizer runs on ids. Reasons: vocab, type, special.
absl::Status CheckVocabMetadata(const GgufFile& file, absl::string_view architecture,
                                int32_t vocab);

}  // namespace ebb::model
