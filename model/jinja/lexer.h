// The tokens of a Jinja template.
//
// Follows Jinja 3.1's lexer with trim_blocks and lstrip_blocks on: a newline right after a block
// tag is dropped, blanks between a line's start and a block tag are dropped, "-" strips all white
// space on its side, "+" keeps it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ebb::model::jinja {

struct Token {
  enum class Kind {
    kData,         // Text outside tags.
    kOutputBegin,  // {{
    kOutputEnd,
    kBlockBegin,  // {%
    kBlockEnd,
    kName,
    kString,  // `text` is its value.
    kInteger,
    kFloat,
    kOperator,  // == != <= >= < > + - * ** / // % ~ | . , : = ( ) [ ] { }
    kEnd,
  };
  Kind kind = Kind::kEnd;
  std::string text;
  int32_t line = 1;
};

// True for what Python's str.isspace() takes as white space.
bool IsPythonSpace(uint32_t code_point);

// The tokens of `source`, kEnd last. REQUIRES: `source` is valid UTF-8.
// UNIMPLEMENTED: characters or literals that are Jinja but not supported; INVALID_ARGUMENT: an
// unfinished tag, comment or string. Both name the line.
absl::StatusOr<std::vector<Token>> Lex(absl::string_view source);

// "chat template, line 3: ..."
absl::Status TemplateError(absl::StatusCode code, int32_t line, absl::string_view message);
// UNIMPLEMENTED: "... `what` is not supported".
absl::Status TemplateUnsupported(int32_t line, absl::string_view what);

}  // namespace ebb::model::jinja
