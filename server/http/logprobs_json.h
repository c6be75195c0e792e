// Log-probabilities in OpenAI's two forms.
//
//   completions  {"tokens":[..],"token_logprobs":[..],"top_logprobs":[{..}],"text_offset":[..]}
//   chat         {"content":[{"token","logprob","bytes","top_logprobs":[..]}]}
#pragma once

#include <cstdint>
#include <string>

#include "google/protobuf/repeated_ptr_field.h"
#include "nlohmann/json.hpp"
#include "proto/ebb.pb.h"
#include "server/text_codec.h"

namespace ebb::server {

// How JSON answers are made into text: not valid UTF-8 (half characters of a token) becomes U+FFFD.
std::string JsonText(const nlohmann::ordered_json& json);

// Thread-compatible. `codec` outlives it.
class CompletionLogprobs {
 public:
  explicit CompletionLogprobs(const TextCodec* codec);

  // A prompt token before the first that has a log-probability.
  void AddWithout(int32_t token_id);
  void Add(const v1::TokenLogprobs& token);
  // What was added since the last call. Offsets go on counting, in characters.
  nlohmann::ordered_json Take();

 private:
  void AddToken(const std::string& text);

  const TextCodec* const codec_;
  int64_t offset_ = 0;
  nlohmann::ordered_json pending_;
};

nlohmann::ordered_json ChatLogprobs(
    const google::protobuf::RepeatedPtrField<v1::TokenLogprobs>& logprobs, const TextCodec& codec);

}  // namespace ebb::server
