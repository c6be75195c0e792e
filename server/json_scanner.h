// JsonScanner: finds where a JSON object or array that arrives piece by piece ends, and notices as
// soon as it cannot be one.
//
//   {"a": [1, "}"]} rest     ──>  ends after 15 bytes
//   {"a" is ...              ──>  no JSON from the 'i' on
//
// It checks the structure and strings as they are read; the spelling of numbers and escapes is left
// to a parser. Constant work for each byte.
#pragma once

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace ebb::server {

// Thread-compatible.
class JsonScanner {
 public:
  enum class State { kOpen, kEnded, kBroken };

  // `text` begins where the value does, and goes on from what was given before.
  State Scan(absl::string_view text);
  // Bytes of the value. REQUIRES: Scan gave kEnded.
  size_t size() const { return at_; }

 private:
  enum class Expect { kValue, kValueOrEnd, kKey, kKeyOrEnd, kColon, kCommaOrEnd };

  bool Step(char c);
  bool StepOutside(char c);
  bool Open(char c);
  bool Close(char c);

  size_t at_ = 0;
  State state_ = State::kOpen;
  std::string open_;  // The brackets around the current place.
  Expect expect_ = Expect::kValue;
  bool in_string_ = false;
  bool escaped_ = false;
  bool in_word_ = false;  // A number, true, false or null.
};

}  // namespace ebb::server
