#include "server/model_text_codec.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/detokenizer.h"

namespace ebb::server {
namespace {

class ModelTextDecoder final : public TextDecoder {
 public:
  ModelTextDecoder(const model::Tokenizer* tokenizer, bool show_special)
      : stream_(tokenizer, /*skip_control=*/!show_special) {}
  std::string Add(int32_t token_id) override { return stream_.Add(token_id); }
  std::string Finish() override { return stream_.Finish(); }

 private:
  model::DetokenizeStream stream_;
};

std::optional<std::string> TextOf(const model::Tokenizer& tokenizer, std::optional<int32_t> id) {
  if (!id.has_value()) return std::nullopt;
  return std::string(tokenizer.TokenBytes(*id));
}

// A template that does not look at tools would leave them out without a word, and one that writes
// any role down would write one that its model was never shown.
absl::Status CheckTemplateKnows(const model::ChatTemplate& chat_template,
                                const model::ChatConversation& conversation) {
  if (conversation.tools_json.has_value() && !chat_template.mentions_tools()) {
    return absl::InvalidArgumentError(
        "chat.tools_json: the model's chat template has no place for tools; leave them out");
  }
  for (size_t i = 0; i < conversation.messages.size(); ++i) {
    const model::ChatMessage& message = conversation.messages[i];
    const std::string field = absl::StrCat("chat.messages[", i, "]");
    const bool needs_tools = message.role == "tool" || message.tool_calls_json.has_value();
    if (needs_tools && !chat_template.mentions_tools()) {
      return absl::InvalidArgumentError(
          absl::StrCat(field, ": the model's chat template knows no tools"));
    }
    if (message.role == "developer" && !chat_template.mentions_developer()) {
      return absl::InvalidArgumentError(absl::StrCat(
          field, ".role: the model's chat template knows no \"developer\"; use \"system\""));
    }
  }
  return absl::OkStatus();
}

}  // namespace

ModelTextCodec::ModelTextCodec(std::unique_ptr<const model::Tokenizer> tokenizer,
                               absl::StatusOr<model::ChatTemplate> chat_template,
                               const base::Clock* clock)
    : tokenizer_(std::move(tokenizer)), chat_template_(std::move(chat_template)), clock_(clock) {
  render_options_.add_generation_prompt = true;
  render_options_.bos_token = TextOf(*tokenizer_, tokenizer_->bos_id());
  render_options_.eos_token = TextOf(*tokenizer_, tokenizer_->eos_id());
}

absl::StatusOr<std::vector<int32_t>> ModelTextCodec::Encode(absl::string_view text,
                                                            bool parse_special) const {
  return tokenizer_->Encode(text, parse_special);
}

absl::StatusOr<std::vector<int32_t>> ModelTextCodec::EncodeChat(
    const model::ChatConversation& conversation) const {
  if (!chat_template_.ok()) return chat_template_.status();
  RETURN_IF_ERROR(CheckTemplateKnows(*chat_template_, conversation));
  model::ChatRenderOptions options = render_options_;
  options.now = clock_->Now();
  ASSIGN_OR_RETURN(const std::vector<model::TextSegment> segments,
                   chat_template_->Render(conversation, options));
  return tokenizer_->EncodeSegments(segments);
}

std::string ModelTextCodec::Decode(absl::Span<const int32_t> token_ids, bool show_special) const {
  model::DetokenizeStream stream(tokenizer_.get(), /*skip_control=*/!show_special);
  std::string text;
  for (const int32_t id : token_ids) text += stream.Add(id);
  return text + stream.Finish();
}

std::unique_ptr<TextDecoder> ModelTextCodec::NewDecoder(bool show_special) const {
  return std::make_unique<ModelTextDecoder>(tokenizer_.get(), show_special);
}

int32_t ModelTextCodec::prefix_token_id() const {
  return tokenizer_->add_bos() ? tokenizer_->bos_id().value() : -1;
}

}  // namespace ebb::server
