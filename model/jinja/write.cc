#include "model/jinja/write.h"

#include <charconv>
#include <cmath>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"

namespace ebb::model::jinja {
namespace {

using Kind = Value::Kind;

// What str.isprintable() refuses, as far as texts of chats have it: controls, separators other
// than the blank, and marks of format. (Code points without a character are taken for printable.)
bool IsPrintable(uint32_t c) {
  struct Range {
    uint32_t first, last;
  };
  constexpr Range kHidden[] = {
      {0x00, 0x1F},     {0x7F, 0xA0},     {0xAD, 0xAD},        {0x600, 0x605},   {0x61C, 0x61C},
      {0x6DD, 0x6DD},   {0x70F, 0x70F},   {0x1680, 0x1680},    {0x180E, 0x180E}, {0x2000, 0x200F},
      {0x2028, 0x202F}, {0x205F, 0x206F}, {0x3000, 0x3000},    {0xD800, 0xF8FF}, {0xFEFF, 0xFEFF},
      {0xFFF0, 0xFFFB}, {0xFFFE, 0xFFFF}, {0xE0000, 0x10FFFF},
  };
  for (const Range& range : kHidden) {
    if (c >= range.first && c <= range.last) return false;
  }
  return true;
}

std::string EscapeOf(uint32_t c) {
  switch (c) {
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    case '\\':
      return "\\\\";
    default:
      break;
  }
  if (c < 0x100) return absl::StrFormat("\\x%02x", c);
  if (c < 0x10000) return absl::StrFormat("\\u%04x", c);
  return absl::StrFormat("\\U%08x", c);
}

class ReprWriter {
 public:
  explicit ReprWriter(Context* context) : context_(*context) {}

  absl::Status Write(const Value& value);
  Text Take() && { return std::move(out_); }

 private:
  absl::Status WriteList(const Value& value, absl::string_view open, absl::string_view close);
  absl::Status WriteDict(const Value& value);
  void WriteString(const Text& text);
  absl::Status Check() {
    RETURN_IF_ERROR(context_.Spend(0));
    return context_.CheckBytes(out_.size());
  }

  Context& context_;
  Text out_;
};

absl::Status ReprWriter::Write(const Value& value) {
  switch (value.kind()) {
    case Kind::kText:
      RETURN_IF_ERROR(context_.Spend(4 * value.view().size()));
      WriteString(value.text());
      return Check();
    case Kind::kList:
      return WriteList(value, "[", "]");
    case Kind::kTuple:
      return WriteList(value, "(", value.list().size() == 1 ? ",)" : ")");
    case Kind::kDict:
      return WriteDict(value);
    case Kind::kUndefined:
      out_.Append("Undefined", true);
      return Check();
    default: {
      ASSIGN_OR_RETURN(const Text text, ToText(&context_, value));
      out_.Append(text);
      return Check();
    }
  }
}

absl::Status ReprWriter::WriteList(const Value& value, absl::string_view open,
                                   absl::string_view close) {
  const bool is_template = !value.from_client();
  out_.Append(open, is_template);
  bool is_first = true;
  for (const Value& element : value.list()) {
    if (!is_first) out_.Append(", ", is_template);
    is_first = false;
    RETURN_IF_ERROR(Write(element));
  }
  out_.Append(close, is_template);
  return Check();
}

absl::Status ReprWriter::WriteDict(const Value& value) {
  const bool is_template = !value.from_client();
  out_.Append("{", is_template);
  bool is_first = true;
  for (const auto& [key, member] : value.dict()) {
    if (!is_first) out_.Append(", ", is_template);
    is_first = false;
    RETURN_IF_ERROR(Write(key));
    out_.Append(": ", is_template);
    RETURN_IF_ERROR(Write(member));
  }
  out_.Append("}", is_template);
  return Check();
}

void ReprWriter::WriteString(const Text& text) {
  const absl::string_view view = text.view();
  const bool double_quotes =
      view.find('\'') != absl::string_view::npos && view.find('"') == absl::string_view::npos;
  const char quote = double_quotes ? '"' : '\'';
  const bool is_template = text.IsTemplate();
  out_.Append(absl::string_view(&quote, 1), is_template);
  for (TextReader at(text); !at.done(); at.Next()) {
    const uint32_t c = at.code_point();
    if (c == static_cast<uint32_t>(quote)) {
      out_.Append(absl::StrCat("\\", at.bytes()), at.is_template());
    } else if (c == '\\' || !IsPrintable(c)) {
      out_.Append(EscapeOf(c), at.is_template());
    } else {
      out_.Append(at.bytes(), at.is_template());
    }
  }
  out_.Append(absl::string_view(&quote, 1), is_template);
}

}  // namespace

std::string FloatText(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto written =
      std::to_chars(buffer, buffer + sizeof(buffer), number, std::chars_format::scientific);
  const absl::string_view text(buffer, static_cast<size_t>(written.ptr - buffer));
  const size_t e = text.find('e');
  std::string digits;
  for (const char c : text.substr(0, e)) {
    if (c >= '0' && c <= '9') digits.push_back(c);
  }
  const std::string sign = text[0] == '-' ? "-" : "";
  const int exponent = std::atoi(std::string(text.substr(e + 1)).c_str());
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    const absl::string_view all = digits;
    return absl::StrCat(sign, all.substr(0, 1), count > 1 ? "." : "", all.substr(1), "e",
                        exponent < 0 ? "-" : "+", std::abs(exponent) < 10 ? "0" : "",
                        std::abs(exponent));
  }
  if (exponent < 0) return absl::StrCat(sign, "0.", std::string(-exponent - 1, '0'), digits);
  if (count <= exponent + 1) {
    return absl::StrCat(sign, digits, std::string(exponent + 1 - count, '0'), ".0");
  }
  return absl::StrCat(sign, digits.substr(0, exponent + 1), ".", digits.substr(exponent + 1));
}

absl::StatusOr<Text> ToText(Context* context, const Value& value) {
  const bool is_template = !value.from_client();
  switch (value.kind()) {
    case Kind::kUndefined:
      return Text();
    case Kind::kNone:
      return Text("None", is_template);
    case Kind::kBool:
      return Text(value.integer() != 0 ? "True" : "False", is_template);
    case Kind::kInteger:
      return Text(absl::StrCat(value.integer()), is_template);
    case Kind::kFloat:
      return Text(FloatText(value.number()), is_template);
    case Kind::kText:
      RETURN_IF_ERROR(context->Spend(value.view().size()));
      return value.text();
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict: {
      ReprWriter writer(context);
      RETURN_IF_ERROR(writer.Write(value));
      return std::move(writer).Take();
    }
    default:
      return context->Unsupported(absl::StrCat("writing ", value.KindName(), " as text"));
  }
}

}  // namespace ebb::model::jinja
