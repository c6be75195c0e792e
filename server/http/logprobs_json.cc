#include "server/http/logprobs_json.h"

#include <algorithm>
#include <utility>

namespace ebb::server {
namespace {

using Json = nlohmann::ordered_json;

// JSON has no infinity; this is what OpenAI writes for tokens that cannot come.
constexpr double kLogprobMin = -9999.0;

double Finite(float logprob) { return std::max<double>(logprob, kLogprobMin); }

std::string TokenText(int32_t id, const TextCodec& codec) {
  return codec.Decode({&id, 1}, /*show_special=*/true);
}

int64_t CharacterCount(const std::string& text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

Json NewCompletionLogprobs() {
  return {{"tokens", Json::array()},
          {"token_logprobs", Json::array()},
          {"top_logprobs", Json::array()},
          {"text_offset", Json::array()}};
}

Json ChatToken(int32_t id, float logprob, const TextCodec& codec) {
  Json bytes = Json::array();
  for (const char c : codec.TokenBytes(id)) bytes.push_back(static_cast<unsigned char>(c));
  return {
      {"token", TokenText(id, codec)}, {"logprob", Finite(logprob)}, {"bytes", std::move(bytes)}};
}

}  // namespace

std::string JsonText(const Json& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

CompletionLogprobs::CompletionLogprobs(const TextCodec* codec)
    : codec_(codec), pending_(NewCompletionLogprobs()) {}

void CompletionLogprobs::AddToken(const std::string& text) {
  pending_["tokens"].push_back(text);
  pending_["text_offset"].push_back(offset_);
  offset_ += CharacterCount(text);
}

void CompletionLogprobs::AddWithout(int32_t token_id) {
  AddToken(TokenText(token_id, *codec_));
  pending_["token_logprobs"].push_back(nullptr);
  pending_["top_logprobs"].push_back(nullptr);
}

void CompletionLogprobs::Add(const v1::TokenLogprobs& token) {
  const std::string text = TokenText(token.token_id(), *codec_);
  AddToken(text);
  pending_["token_logprobs"].push_back(Finite(token.logprob()));
  // By text: of two tokens with the same text, such as halves of characters, the more likely one
  // is told. The chosen token is always among them.
  Json top = Json::object();
  for (const v1::TokenLogprobs::Alternative& other : token.top()) {
    const std::string other_text = TokenText(other.token_id(), *codec_);
    if (!top.contains(other_text)) top[other_text] = Finite(other.logprob());
  }
  if (!top.contains(text)) top[text] = Finite(token.logprob());
  pending_["top_logprobs"].push_back(std::move(top));
}

Json CompletionLogprobs::Take() { return std::exchange(pending_, NewCompletionLogprobs()); }

Json ChatLogprobs(const google::protobuf::RepeatedPtrField<v1::TokenLogprobs>& logprobs,
                  const TextCodec& codec) {
  Json content = Json::array();
  for (const v1::TokenLogprobs& token : logprobs) {
    Json entry = ChatToken(token.token_id(), token.logprob(), codec);
    Json top = Json::array();
    for (const v1::TokenLogprobs::Alternative& other : token.top()) {
      top.push_back(ChatToken(other.token_id(), other.logprob(), codec));
    }
    entry["top_logprobs"] = std::move(top);
    content.push_back(std::move(entry));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

}  // namespace ebb::server
