// A small well-formed vocabulary that tests change and break.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "model/tokenizer.h"

namespace ebb::model {

// A byte in GPT-2's byte alphabet. Written apart from the tokenizer's own table.
inline std::string ByteLetter(int byte) {
  int code_point = byte;
  const bool printable =
      (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xFF && byte != 0xAD);
  if (!printable) {
    code_point = 256;
    for (int other = 0; other < byte; ++other) {
      const bool other_printable =
          (other >= '!' && other <= '~') || (other >= 0xA1 && other <= 0xFF && other != 0xAD);
      if (!other_printable) ++code_point;
    }
  }
  if (code_point < 0x80) return std::string(1, static_cast<char>(code_point));
  return {static_cast<char>(0xC0 | code_point >> 6), static_cast<char>(0x80 | (code_point & 0x3F))};
}

inline std::string InByteAlphabet(absl::string_view bytes) {
  std::string letters;
  for (const char byte : bytes) letters += ByteLetter(static_cast<unsigned char>(byte));
  return letters;
}

inline int32_t AddToken(TokenizerData* data, const std::string& text, TokenType type) {
  data->tokens.push_back(text);
  data->token_types.push_back(static_cast<int32_t>(type));
  return static_cast<int32_t>(data->tokens.size()) - 1;
}

// Ids 0 to 255 are the bytes; then he, hel, lo, hello, <|im_start|>, <|im_end|>.
inline TokenizerData SmallData() {
  TokenizerData data;
  data.source = "test";
  data.model = "gpt2";
  data.pre = "gpt2";
  for (int byte = 0; byte < 256; ++byte) AddToken(&data, ByteLetter(byte), TokenType::kNormal);
  for (const char* text : {"he", "hel", "lo", "hello"}) AddToken(&data, text, TokenType::kNormal);
  data.merges = {"h e", "l o", "he l", "hel lo"};
  data.bos_id = AddToken(&data, "<|im_start|>", TokenType::kControl);
  data.eos_id = AddToken(&data, "<|im_end|>", TokenType::kControl);
  return data;
}

}  // namespace ebb::model
