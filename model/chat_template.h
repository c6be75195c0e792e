// ChatTemplate: turns the messages of a conversation into a prompt, as the model's file says.
//
//   {% for m in messages %}<|im_start|>{{ m.role }}      messages        [T]<|im_start|>[C]user
//   {{ m.content }}<|im_end|>                        +  user: "hi"  ->   [T]\n[C]hi[T]<|im_end|>\n
//   {% endfor %}
//
// The result keeps apart what the template wrote (T) and what came from a client (C), so that the
// tokenizer recognises control tokens in the former only.
//
// The language is the part of Jinja that ChatML-like templates use, with trim_blocks and
// lstrip_blocks on, as transformers renders them:
//   tags         for (one name, over a list), if, elif, else, set (one name); comments; - and +
//   expressions  'text', 1, true, none, [lists], names, a.b, a['b'], a[0], a[1:], ==, !=, <, <=, >,
//                >=, in, and, or, not, if-else, + - * %, ~, raise_exception('...')
//   filters      trim, length;  tests: defined, undefined, none, string, mapping, iterable,
//   sequence,
//                number, boolean, true, false
//   variables    messages (role, content), add_generation_prompt, bos_token, eos_token, loop; tools
//                and documents are none
// Anything else is refused when the template is parsed. What templates may cost is bounded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/text_segment.h"

namespace ebb::model {

struct ChatMessage {
  std::string role;
  std::string content;
};

struct ChatTemplateLimits {
  size_t source_bytes_max = size_t{256} << 10;
  int32_t nesting_max = 128;       // Of blocks, and of expressions, chains of operators included.
  int64_t steps_max = 20'000'000;  // Nodes evaluated, and 64 bytes of text copied are one more.
  size_t text_bytes_max = size_t{64} << 20;  // Of any value and of the result.
};

struct ChatRenderOptions {
  bool add_generation_prompt = true;  // End with the opening of the assistant's turn.
  std::optional<std::string> bos_token;
  std::optional<std::string> eos_token;
};

namespace chat {
struct Block;
}  // namespace chat

// Thread-safe: const after parsing.
class ChatTemplate {
 public:
  // UNIMPLEMENTED: a construct that is not in the list above, named with its line.
  // INVALID_ARGUMENT: not a Jinja template, or beyond `limits`.
  static absl::StatusOr<ChatTemplate> Parse(absl::string_view source,
                                            const ChatTemplateLimits& limits = {});

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // The prompt. INVALID_ARGUMENT: the template refuses these messages (raise_exception), or an
  // operation does not fit its values. UNIMPLEMENTED: an operation on values that we lack it for,
  // such as a slice of a string, which parsing cannot foresee. RESOURCE_EXHAUSTED: beyond the
  // limits.
  absl::StatusOr<std::vector<TextSegment>> Render(absl::Span<const ChatMessage> messages,
                                                  const ChatRenderOptions& options) const;

 private:
  ChatTemplate(std::unique_ptr<const chat::Block> body, const ChatTemplateLimits& limits);

  std::unique_ptr<const chat::Block> body_;
  ChatTemplateLimits limits_;
};

}  // namespace ebb::model
