// ModelTextCodec: the TextCodec of a model, by its own tokenizer and chat template.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "model/chat_template.h"
#include "model/tokenizer.h"
#include "server/text_codec.h"

namespace ebb::server {

// Thread-safe and immutable.
class ModelTextCodec final : public TextCodec {
 public:
  // `chat_template`: the template, or why there is none that can be used; EncodeChat answers that.
  // `clock` outlives this; templates may write its date, in UTC.
  ModelTextCodec(std::unique_ptr<const model::Tokenizer> tokenizer,
                 absl::StatusOr<model::ChatTemplate> chat_template, const base::Clock* clock);

  absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text,
                                              bool parse_special) const override;
  absl::StatusOr<std::vector<int32_t>> EncodeChat(
      const model::ChatConversation& conversation) const override;
  std::string Decode(absl::Span<const int32_t> token_ids, bool show_special) const override;
  std::unique_ptr<TextDecoder> NewDecoder(bool show_special) const override;
  std::string TokenBytes(int32_t token_id) const override {
    return std::string(tokenizer_->TokenBytes(token_id));
  }
  bool has_chat_template() const override { return chat_template_.ok(); }
  int32_t prefix_token_id() const override;
  size_t token_bytes_max() const override { return tokenizer_->longest_token_bytes(); }

  const model::Tokenizer& tokenizer() const { return *tokenizer_; }
  // Null when there is none that can be used.
  const model::ChatTemplate* chat_template() const {
    return chat_template_.ok() ? &*chat_template_ : nullptr;
  }

 private:
  const std::unique_ptr<const model::Tokenizer> tokenizer_;
  const absl::StatusOr<model::ChatTemplate> chat_template_;
  const base::Clock* const clock_;
  model::ChatRenderOptions render_options_;
};

}  // namespace ebb::server
