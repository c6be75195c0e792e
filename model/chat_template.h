// ChatTemplate: turns the messages of a conversation into a prompt, as the model's file says.
//
//   {% for m in messages %}<|im_start|>{{ m.role }}      messages        [T]<|im_start|>[C]user
//   {{ m.content }}<|im_end|>                        +  user: "hi"  ->   [T]\n[C]hi[T]<|im_end|>\n
//   {% endfor %}
//
// The result keeps apart what the template wrote (T) and what came from a client (C), so that the
// tokenizer recognises control tokens in the former only. Tools, tool calls and a client's
// variables are the client's, whatever the template makes of them.
//
// The language is Jinja as transformers sets it up (trim_blocks, lstrip_blocks, its own tojson, the
// tags break, continue and generation): jinja/README.md. What a template may cost is bounded.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "model/chat_conversation.h"
#include "model/jinja/context.h"
#include "model/text_segment.h"

namespace ebb::model {

namespace jinja {
struct Block;
}  // namespace jinja

using ChatTemplateLimits = jinja::Limits;

struct ChatRenderOptions {
  bool add_generation_prompt = true;  // End with the opening of the assistant's turn.
  std::optional<std::string> bos_token = std::nullopt;
  std::optional<std::string> eos_token = std::nullopt;
  // What strftime_now writes.
  absl::Time now = absl::UnixEpoch();
  absl::TimeZone zone = absl::UTCTimeZone();
};

// Thread-safe: const after parsing.
class ChatTemplate {
 public:
  // UNIMPLEMENTED: a construct that we lack, named with its line.
  // INVALID_ARGUMENT: not a Jinja template, or beyond `limits`.
  static absl::StatusOr<ChatTemplate> Parse(absl::string_view source,
                                            const ChatTemplateLimits& limits = {});

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  const std::string& source() const { return source_; }
  // The template speaks of tools, or of developers: it may know messages of that role.
  bool mentions_tools() const { return mentions_tools_; }
  bool mentions_developer() const { return mentions_developer_; }

  // The prompt. The variables are messages, tools and documents (none if not given), the tokens,
  // add_generation_prompt, and the client's own. Arguments of tool calls that are JSON in a string,
  // as OpenAI's, are given to the template as the object that they say; a template that cannot take
  // that gets the string.
  //
  // INVALID_ARGUMENT: the template refuses the conversation (raise_exception), an operation does
  // not fit its values, or the conversation's JSON is none. UNIMPLEMENTED: a function that we lack,
  // which parsing cannot foresee. RESOURCE_EXHAUSTED: beyond the limits.
  absl::StatusOr<std::vector<TextSegment>> Render(const ChatConversation& conversation,
                                                  const ChatRenderOptions& options) const;

 private:
  ChatTemplate(std::string source, std::unique_ptr<const jinja::Block> body,
               const ChatTemplateLimits& limits);

  std::string source_;
  std::unique_ptr<const jinja::Block> body_;
  ChatTemplateLimits limits_;
  bool mentions_tools_;
  bool mentions_developer_;
};

}  // namespace ebb::model
