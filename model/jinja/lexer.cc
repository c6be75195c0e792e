#include "model/jinja/lexer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/utf8.h"

namespace ebb::model::jinja {
namespace {

// As Jinja does first of all: one kind of newline, and one at the end dropped.
std::string NormalizeNewlines(absl::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      text.push_back(source[i]);
      continue;
    }
    text.push_back('\n');
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (absl::EndsWith(text, "\n")) text.pop_back();
  return text;
}

size_t LeadingSpaceBytes(absl::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const Utf8Front front = DecodeUtf8Front(text.substr(at));
    if (!IsPythonSpace(front.code_point)) break;
    at += front.length;
  }
  return at;
}

absl::string_view WithoutTrailingSpace(absl::string_view text) {
  size_t keep = 0;
  for (size_t at = 0; at < text.size();) {
    const Utf8Front front = DecodeUtf8Front(text.substr(at));
    at += front.length;
    if (!IsPythonSpace(front.code_point)) keep = at;
  }
  return text.substr(0, keep);
}

// The letters, digits and underscores at the front of `text`.
size_t WordBytes(absl::string_view text) {
  size_t bytes = 0;
  while (bytes < text.size() && (absl::ascii_isalnum(text[bytes]) || text[bytes] == '_')) ++bytes;
  return bytes;
}

// The digits at the front of `text`, with underscores between them; none if it begins with none.
size_t DigitBytes(absl::string_view text) {
  size_t bytes = 0;
  while (bytes < text.size() &&
         (absl::ascii_isdigit(text[bytes]) ||
          (bytes > 0 && text[bytes] == '_' && bytes + 1 < text.size() &&
           absl::ascii_isdigit(text[bytes - 1]) && absl::ascii_isdigit(text[bytes + 1])))) {
    ++bytes;
  }
  return bytes;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)), rest_(source_) {}

  absl::StatusOr<std::vector<Token>> Run() {
    while (!rest_.empty()) RETURN_IF_ERROR(LexDataAndTag());
    Emit(Token::Kind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  void Emit(Token::Kind kind, absl::string_view text) {
    tokens_.push_back({kind, std::string(text), line_});
  }
  void Advance(size_t bytes) {
    line_ += static_cast<int32_t>(std::count(rest_.begin(), rest_.begin() + bytes, '\n'));
    rest_.remove_prefix(bytes);
  }
  absl::Status Invalid(absl::string_view message) const {
    return TemplateError(absl::StatusCode::kInvalidArgument, line_, message);
  }
  absl::Status Unsupported(absl::string_view what) const {
    return TemplateUnsupported(line_, what);
  }

  absl::Status LexDataAndTag();
  absl::Status SkipComment();
  void SkipAfterTag(char sign, bool trims_newline);
  absl::Status LexInside(bool is_output);
  bool ConsumeTagEnd(bool is_output);
  absl::Status LexString();
  absl::Status AppendEscape(absl::string_view text, size_t* at, std::string* value);
  absl::Status LexNumber();
  absl::Status LexOperator();

  const std::string source_;
  absl::string_view rest_;
  std::vector<Token> tokens_;
  int32_t line_ = 1;
  bool at_line_start_ = true;  // Nothing but a newline was consumed last.
  std::string open_;           // Brackets of the tag that are not closed yet: "}}" closes two.
};

// Text up to the next tag, stripped as the tag says, and the tag.
absl::Status Lexer::LexDataAndTag() {
  size_t tag = 0;
  for (; tag < rest_.size(); ++tag) {
    if (rest_[tag] == '{' && tag + 1 < rest_.size() &&
        (rest_[tag + 1] == '%' || rest_[tag + 1] == '{' || rest_[tag + 1] == '#')) {
      break;
    }
  }
  const absl::string_view data = rest_.substr(0, tag);
  absl::string_view kept = data;
  const char kind = tag < rest_.size() ? rest_[tag + 1] : '\0';
  const char sign = tag + 2 < rest_.size() ? rest_[tag + 2] : '\0';
  if (kind != '\0' && sign == '-') {
    kept = WithoutTrailingSpace(data);
  } else if ((kind == '%' || kind == '#') && sign != '+') {
    const size_t newline = data.rfind('\n');
    const size_t line_begin = newline == absl::string_view::npos ? 0 : newline + 1;
    const absl::string_view indent = data.substr(line_begin);
    if ((line_begin > 0 || at_line_start_) && LeadingSpaceBytes(indent) == indent.size()) {
      kept = data.substr(0, line_begin);
    }
  }
  if (!kept.empty()) Emit(Token::Kind::kData, kept);
  Advance(data.size());
  if (kind == '\0') return absl::OkStatus();
  const bool signed_tag = sign == '-' || sign == '+';
  if (kind != '#') {
    Emit(kind == '{' ? Token::Kind::kOutputBegin : Token::Kind::kBlockBegin, "");
  }
  Advance(signed_tag ? 3 : 2);
  return kind == '#' ? SkipComment() : LexInside(kind == '{');
}

absl::Status Lexer::SkipComment() {
  const size_t end = rest_.find("#}");
  if (end == absl::string_view::npos) return Invalid("the comment has no end");
  const char sign = end > 0 ? rest_[end - 1] : '\0';
  Advance(end + 2);
  SkipAfterTag(sign, /*trims_newline=*/true);
  return absl::OkStatus();
}

// The white space that goes with the end of a tag or comment: all after "-", else a newline.
void Lexer::SkipAfterTag(char sign, bool trims_newline) {
  size_t skip = 0;
  if (sign == '-') {
    skip = LeadingSpaceBytes(rest_);
  } else if (trims_newline && sign != '+' && absl::StartsWith(rest_, "\n")) {
    skip = 1;
  }
  at_line_start_ = skip > 0 && rest_[skip - 1] == '\n';
  Advance(skip);
}

// Consumes "}}" or "%}" with its sign and the white space that goes with it, if it is next.
bool Lexer::ConsumeTagEnd(bool is_output) {
  const absl::string_view close = is_output ? "}}" : "%}";
  char sign = '\0';
  if (absl::StartsWith(rest_, "-") || (!is_output && absl::StartsWith(rest_, "+"))) {
    sign = rest_[0];
  }
  const size_t sign_bytes = sign == '\0' ? 0 : 1;
  if (!absl::StartsWith(rest_.substr(sign_bytes), close)) return false;
  Emit(is_output ? Token::Kind::kOutputEnd : Token::Kind::kBlockEnd, "");
  Advance(sign_bytes + close.size());
  SkipAfterTag(sign, /*trims_newline=*/!is_output);
  return true;
}

absl::Status Lexer::LexInside(bool is_output) {
  const int32_t begin_line = line_;
  open_.clear();
  while (true) {
    Advance(LeadingSpaceBytes(rest_));
    if (rest_.empty()) {
      return TemplateError(absl::StatusCode::kInvalidArgument, begin_line, "the tag has no end");
    }
    if (open_.empty() && ConsumeTagEnd(is_output)) return absl::OkStatus();
    const char c = rest_[0];
    if (absl::ascii_isalpha(c) || c == '_') {
      const size_t bytes = WordBytes(rest_);
      Emit(Token::Kind::kName, rest_.substr(0, bytes));
      Advance(bytes);
    } else if (c == '\'' || c == '"') {
      RETURN_IF_ERROR(LexString());
    } else if (absl::ascii_isdigit(c)) {
      RETURN_IF_ERROR(LexNumber());
    } else {
      RETURN_IF_ERROR(LexOperator());
    }
  }
}

absl::Status Lexer::LexOperator() {
  constexpr absl::string_view kTwoCharacters[] = {"==", "!=", "<=", ">=", "**", "//"};
  constexpr absl::string_view kOneCharacter = "<>+-*/%~|.,:=()[]{}";
  constexpr absl::string_view kOpening = "([{";
  constexpr absl::string_view kClosing = ")]}";
  const char c = rest_[0];
  const auto* two =
      std::find(std::begin(kTwoCharacters), std::end(kTwoCharacters), rest_.substr(0, 2));
  const size_t bytes = two != std::end(kTwoCharacters) ? 2 : 1;
  if (bytes == 1 && kOneCharacter.find(c) == absl::string_view::npos) {
    return Unsupported(absl::StrCat("'", rest_.substr(0, DecodeUtf8Front(rest_).length), "'"));
  }
  if (kOpening.find(c) != absl::string_view::npos) open_.push_back(c);
  if (const size_t closing = kClosing.find(c); closing != absl::string_view::npos) {
    const absl::string_view found = rest_.substr(0, 1);
    if (open_.empty()) return Invalid(absl::StrCat("'", found, "' closes nothing"));
    const size_t wanted = kOpening.find(open_.back());
    if (wanted != closing) {
      return Invalid(
          absl::StrCat("expected '", kClosing.substr(wanted, 1), "', found '", found, "'"));
    }
    open_.pop_back();
  }
  Emit(Token::Kind::kOperator, rest_.substr(0, bytes));
  Advance(bytes);
  return absl::OkStatus();
}

absl::Status Lexer::LexNumber() {
  size_t bytes = DigitBytes(rest_);
  bool is_float = false;
  if (const size_t fraction = DigitBytes(rest_.substr(std::min(bytes + 1, rest_.size())));
      fraction > 0 && rest_[bytes] == '.') {
    is_float = true;
    bytes += 1 + fraction;
  }
  if (bytes < rest_.size() && (rest_[bytes] | 0x20) == 'e') {
    size_t exponent = bytes + 1;
    if (exponent < rest_.size() && (rest_[exponent] == '+' || rest_[exponent] == '-')) ++exponent;
    const size_t digits = DigitBytes(rest_.substr(exponent));
    is_float |= digits > 0;
    if (digits > 0) bytes = exponent + digits;
  }
  const size_t word = bytes + WordBytes(rest_.substr(bytes));
  std::string number(rest_.substr(0, bytes));
  number.erase(std::remove(number.begin(), number.end(), '_'), number.end());
  if (word != bytes || (!is_float && number.size() > 18) || number.size() > 64) {
    return Unsupported(absl::StrCat("the number ", rest_.substr(0, std::min<size_t>(word, 32))));
  }
  Emit(is_float ? Token::Kind::kFloat : Token::Kind::kInteger, number);
  Advance(bytes);
  return absl::OkStatus();
}

absl::Status Lexer::LexString() {
  const char quote = rest_[0];
  size_t end = 1;
  while (end < rest_.size() && rest_[end] != quote) end += rest_[end] == '\\' ? 2 : 1;
  if (end >= rest_.size()) return Invalid("the string has no end");
  const absl::string_view body = rest_.substr(1, end - 1);
  std::string value;
  for (size_t at = 0; at < body.size();) {
    if (body[at] == '\\') {
      RETURN_IF_ERROR(AppendEscape(body, &at, &value));
    } else {
      value.push_back(body[at++]);
    }
  }
  Emit(Token::Kind::kString, value);
  Advance(end + 1);
  return absl::OkStatus();
}

// One escape of Python's "unicode-escape" codec; text[*at] is the backslash.
absl::Status Lexer::AppendEscape(absl::string_view text, size_t* at, std::string* value) {
  constexpr absl::string_view kNames = "\\'\"abfnrtv";
  constexpr absl::string_view kValues = "\\'\"\a\b\f\n\r\t\v";
  const char c = text[*at + 1];
  *at += 2;
  const size_t simple = kNames.find(c);
  if (c == '\n') return absl::OkStatus();  // A continued line.
  if (simple != absl::string_view::npos) {
    value->push_back(kValues[simple]);
    return absl::OkStatus();
  }
  if (c == 'N' || (c >= '0' && c <= '7')) {
    return Unsupported(absl::StrCat("the escape '\\", absl::string_view(&c, 1), "' in a string"));
  }
  const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
  if (digits == 0) {  // Not an escape: the backslash stays.
    value->push_back('\\');
    --*at;
    return absl::OkStatus();
  }
  const absl::string_view hex = text.substr(*at, digits);
  uint32_t code_point = 0;
  for (const char digit : hex) {
    if (!absl::ascii_isxdigit(digit)) return Invalid("an escape in a string is malformed");
    const int nibble = absl::ascii_isdigit(digit) ? digit - '0' : (digit | 0x20) - 'a' + 10;
    code_point = code_point << 4 | static_cast<uint32_t>(nibble);
  }
  if (hex.size() < digits || code_point > 0x10FFFF ||
      (code_point >= 0xD800 && code_point <= 0xDFFF)) {
    return Invalid("an escape in a string is malformed");
  }
  AppendUtf8(code_point, value);
  *at += digits;
  return absl::OkStatus();
}

}  // namespace

bool IsPythonSpace(uint32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

absl::StatusOr<std::vector<Token>> Lex(absl::string_view source) {
  return Lexer(NormalizeNewlines(source)).Run();
}

absl::Status TemplateError(absl::StatusCode code, int32_t line, absl::string_view message) {
  return absl::Status(code, absl::StrCat("chat template, line ", line, ": ", message));
}

absl::Status TemplateUnsupported(int32_t line, absl::string_view what) {
  return TemplateError(absl::StatusCode::kUnimplemented, line,
                       absl::StrCat(what, " is not supported"));
}

}  // namespace ebb::model::jinja
