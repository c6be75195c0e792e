// DetokenizeStream: token ids to text, as they come.
//
//   Add("Ġcaf") -> " caf"    Add(0xC3) -> ""    Add(0xA9) -> "é"    Finish() -> ""
//
// Never gives half a character: bytes that begin one wait for the rest. Bytes that belong to no
// character become U+FFFD as soon as that is certain, so that the joined answers are the same
// however the bytes were spread over tokens, and equal to Hugging Face's decode of all ids.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/tokenizer.h"

namespace ebb::model {

// Bytes in any pieces to whole characters. Thread-compatible.
class Utf8Stream {
 public:
  // The characters that `bytes` complete.
  std::string Add(absl::string_view bytes);
  // One U+FFFD when a character was left unfinished. The stream is then as new.
  std::string Finish();

 private:
  std::string pending_;  // At most three bytes that begin a character.
};

// Thread-compatible. The tokenizer outlives it.
class DetokenizeStream {
 public:
  // `skip_control`: control tokens give no text and do not part the bytes around them; otherwise
  // they give their spelling.
  DetokenizeStream(const Tokenizer* tokenizer, bool skip_control)
      : tokenizer_(tokenizer), skip_control_(skip_control) {}

  // The text that `id` completes. REQUIRES: the tokenizer's IsValid(id).
  std::string Add(int32_t id);
  std::string Finish() { return bytes_.Finish(); }

 private:
  const Tokenizer* tokenizer_;
  bool skip_control_;
  Utf8Stream bytes_;
};

// The text of `ids` as a whole. INVALID_ARGUMENT: an id outside the vocabulary.
absl::StatusOr<std::string> Detokenize(const Tokenizer& tokenizer, absl::Span<const int32_t> ids,
                                       bool skip_control);

}  // namespace ebb::model
