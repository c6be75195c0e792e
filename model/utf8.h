// UTF-8, one character at a time (RFC 3629: no surrogates, nothing above U+10FFFF, no overlong
// forms).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace ebb::model {

// What stands at the front of some bytes.
struct Utf8Front {
  enum class Kind {
    kCharacter,   // `length` bytes are one character, `code_point`.
    kInvalid,     // `length` bytes belong to no character: one U+FFFD stands for them.
    kIncomplete,  // All `length` bytes begin a character that more bytes may finish.
  };
  Kind kind = Kind::kInvalid;
  size_t length = 0;
  uint32_t code_point = 0;
};

// Invalid bytes are grouped as "maximal subparts" (Unicode 14, section 3.9, U+FFFD substitution of
// maximal subparts), as Python, Rust and the WHATWG do. REQUIRES: `bytes` is not empty.
Utf8Front DecodeUtf8Front(absl::string_view bytes);

// The offset of the first byte that is no part of valid UTF-8, or npos.
size_t FindInvalidUtf8(absl::string_view bytes);

// REQUIRES: `code_point` is a Unicode scalar value.
void AppendUtf8(uint32_t code_point, std::string* out);

}  // namespace ebb::model
