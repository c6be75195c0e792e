#include "server/model_text_codec.h"

#include <utility>

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

}  // namespace

ModelTextCodec::ModelTextCodec(std::unique_ptr<const model::Tokenizer> tokenizer,
                               absl::StatusOr<model::ChatTemplate> chat_template)
    : tokenizer_(std::move(tokenizer)), chat_template_(std::move(chat_template)) {
  render_options_.add_generation_prompt = true;
  render_options_.bos_token = TextOf(*tokenizer_, tokenizer_->bos_id());
  render_options_.eos_token = TextOf(*tokenizer_, tokenizer_->eos_id());
}

absl::StatusOr<std::vector<int32_t>> ModelTextCodec::Encode(absl::string_view text,
                                                            bool parse_special) const {
  return tokenizer_->Encode(text, parse_special);
}

absl::StatusOr<std::vector<int32_t>> ModelTextCodec::EncodeChat(
    absl::Span<const ChatTurn> turns) const {
  if (!chat_template_.ok()) return chat_template_.status();
  std::vector<model::ChatMessage> messages;
  messages.reserve(turns.size());
  for (const ChatTurn& turn : turns) messages.push_back({turn.role, turn.content});
  ASSIGN_OR_RETURN(const std::vector<model::TextSegment> segments,
                   chat_template_->Render(messages, render_options_));
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
