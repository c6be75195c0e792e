// TextCodec: text to token ids and back, as the services need it. ModelTextCodec does it with the
// model's own tokenizer and chat template; the tests have one whose tokens are bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/chat_conversation.h"

namespace ebb::server {

// Turns tokens into text one by one. Thread-compatible.
class TextDecoder {
 public:
  virtual ~TextDecoder() = default;
  // The text that `token_id` completes: whole characters only, so often less or more than the
  // token's own bytes. REQUIRES: a token id of the model.
  virtual std::string Add(int32_t token_id) = 0;
  // What is left: U+FFFD for a character that was begun and never completed.
  virtual std::string Finish() = 0;
};

// Thread-safe and immutable.
class TextCodec {
 public:
  virtual ~TextCodec() = default;

  // No beginning-of-sequence token is added. With `parse_special`, control tokens written in the
  // text become control tokens.
  virtual absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text,
                                                      bool parse_special) const = 0;
  // The conversation by the model's chat template, opened for the assistant's turn. Control tokens
  // inside of what the client wrote stay text. FAILED_PRECONDITION when the model has no template;
  // INVALID_ARGUMENT when the template refuses the conversation or knows no tools or developers.
  virtual absl::StatusOr<std::vector<int32_t>> EncodeChat(
      const model::ChatConversation& conversation) const = 0;
  // Valid UTF-8. With `show_special`, control tokens appear as their text.
  // REQUIRES: token ids of the model.
  virtual std::string Decode(absl::Span<const int32_t> token_ids, bool show_special) const = 0;
  // With `show_special`, control tokens give their text.
  virtual std::unique_ptr<TextDecoder> NewDecoder(bool show_special) const = 0;
  // What the token stands for, which may be half a character; control tokens give their spelling.
  // REQUIRES: a token id of the model.
  virtual std::string TokenBytes(int32_t token_id) const = 0;

  virtual bool has_chat_template() const = 0;
  // The token that a raw text must begin with, or -1.
  virtual int32_t prefix_token_id() const = 0;
  // No token stands for more bytes of text than this. At least 1.
  virtual size_t token_bytes_max() const = 0;
};

}  // namespace ebb::server
