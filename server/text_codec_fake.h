// FakeTextCodec: token ids 0 to 255 are bytes; 256 is the control token "<|end|>", 257 "<|begin|>".
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "server/text_codec.h"

namespace ebb::server {

class FakeTextCodec final : public TextCodec {
 public:
  static constexpr int32_t kVocabularyTokens = 258;
  static constexpr int32_t kEnd = 256;
  static constexpr int32_t kBegin = 257;
  static constexpr size_t kLongBytes = size_t{64} << 10;

  static std::string TextOfControl(int32_t id) { return id == kEnd ? "<|end|>" : "<|begin|>"; }

  // From here on, encoding a text of kLongBytes or more waits until LetGo.
  void HoldLongTexts() {
    base::MutexLock lock(&mutex_);
    held_ = true;
  }
  bool IsHolding() const {
    base::MutexLock lock(&mutex_);
    return waiting_;
  }
  void LetGo() {
    base::MutexLock lock(&mutex_);
    held_ = false;
    let_go_.SignalAll();
  }

  absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text,
                                              bool parse_special) const override {
    if (text.size() >= kLongBytes) WaitUntilLetGo();
    std::vector<int32_t> ids;
    while (!text.empty()) {
      if (parse_special && absl::StartsWith(text, "<|end|>")) {
        ids.push_back(kEnd);
        text.remove_prefix(7);
      } else {
        ids.push_back(static_cast<uint8_t>(text[0]));
        text.remove_prefix(1);
      }
    }
    return ids;
  }

  // kBegin "tools:" JSON kEnd if there are tools; kBegin role ':' content and calls kEnd for each
  // message; then kBegin.
  absl::StatusOr<std::vector<int32_t>> EncodeChat(
      const model::ChatConversation& conversation) const override {
    if (!has_template) return absl::FailedPreconditionError("the model has no chat template");
    std::vector<int32_t> ids;
    const auto add_turn = [&](const std::string& text) {
      ids.push_back(kBegin);
      for (const char c : text) ids.push_back(static_cast<uint8_t>(c));
      ids.push_back(kEnd);
    };
    if (conversation.tools_json.has_value()) {
      add_turn(absl::StrCat("tools:", *conversation.tools_json));
    }
    for (const model::ChatMessage& turn : conversation.messages) {
      add_turn(absl::StrCat(turn.role, turn.name.value_or(""), turn.tool_call_id.value_or(""), ":",
                            turn.content.value_or(""), turn.tool_calls_json.value_or("")));
    }
    ids.push_back(kBegin);
    return ids;
  }

  std::string Decode(absl::Span<const int32_t> token_ids, bool show_special) const override {
    std::string text;
    for (const int32_t id : token_ids) {
      if (id < kEnd) {
        text.push_back(static_cast<char>(id));
      } else if (show_special) {
        text += TextOfControl(id);
      }
    }
    return text;
  }

  // Holds back the bytes of an unfinished character; the input is taken to be UTF-8.
  class Decoder final : public TextDecoder {
   public:
    explicit Decoder(bool show_special = false) : show_special_(show_special) {}

    std::string Add(int32_t token_id) override {
      if (token_id >= kEnd) return show_special_ ? TextOfControl(token_id) : "";
      const auto byte = static_cast<uint8_t>(token_id);
      if ((byte & 0xC0) != 0x80) {
        missing_ = byte >= 0xF0 ? 3 : byte >= 0xE0 ? 2 : byte >= 0xC0 ? 1 : 0;
      } else if (missing_ > 0) {
        --missing_;
      }
      bytes_.push_back(static_cast<char>(byte));
      return missing_ == 0 ? std::exchange(bytes_, "") : "";
    }
    std::string Finish() override {
      const bool cut = !bytes_.empty();
      bytes_.clear();
      return cut ? "\xEF\xBF\xBD" : "";
    }

   private:
    const bool show_special_;
    std::string bytes_;
    int missing_ = 0;
  };
  std::unique_ptr<TextDecoder> NewDecoder(bool show_special) const override {
    return std::make_unique<Decoder>(show_special);
  }

  std::string TokenBytes(int32_t token_id) const override {
    return Decode({&token_id, 1}, /*show_special=*/true);
  }

  bool has_chat_template() const override { return has_template; }
  int32_t prefix_token_id() const override { return prefix_id; }
  size_t token_bytes_max() const override { return 1; }

  bool has_template = true;
  int32_t prefix_id = -1;

 private:
  void WaitUntilLetGo() const {
    base::MutexLock lock(&mutex_);
    waiting_ = held_;
    while (held_) let_go_.Wait(&mutex_);
  }

  mutable base::Mutex mutex_;
  mutable base::CondVar let_go_;
  bool held_ ABSL_GUARDED_BY(mutex_) = false;
  mutable bool waiting_ ABSL_GUARDED_BY(mutex_) = false;  // Somebody has begun to wait.
};

}  // namespace ebb::server
