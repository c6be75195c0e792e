#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "model/jinja/write.h"

namespace ebb::model::jinja {
namespace {

using Kind = Value::Kind;

class JsonWriter {
 public:
  JsonWriter(Context* context, const JsonStyle& style) : context_(*context), style_(style) {}

  absl::Status Write(const Value& value);
  Text Take() && { return std::move(out_); }

 private:
  absl::Status WriteList(const Value& value);
  absl::Status WriteDict(const Value& value);
  absl::Status WriteKey(const Value& key);
  absl::StatusOr<Value::Dict> Sorted(const Value::Dict& dict);
  void WriteString(const Text& text);
  std::string EscapeOf(uint32_t c) const;
  // The separator and the line break before an element.
  void Separate(bool is_first, bool is_template);
  void Close(bool was_empty, absl::string_view bracket, bool is_template);
  void BreakLine(bool is_template);
  absl::Status Check() {
    RETURN_IF_ERROR(context_.Spend(0));
    return context_.CheckBytes(out_.size());
  }

  Context& context_;
  const JsonStyle& style_;
  Text out_;
  int32_t level_ = 0;
};

std::string ScalarText(const Value& value) {
  if (value.Is(Kind::kNone)) return "null";
  if (value.Is(Kind::kBool)) return value.integer() != 0 ? "true" : "false";
  if (value.Is(Kind::kInteger)) return absl::StrCat(value.integer());
  if (std::isnan(value.number())) return "NaN";
  if (std::isinf(value.number())) return value.number() < 0 ? "-Infinity" : "Infinity";
  return FloatText(value.number());
}

bool IsScalar(const Value& value) { return value.IsNumber() || value.Is(Kind::kNone); }

absl::Status JsonWriter::Write(const Value& value) {
  if (IsScalar(value)) {
    out_.Append(ScalarText(value), !value.from_client());
    return Check();
  }
  if (value.IsText()) {
    RETURN_IF_ERROR(context_.Spend(4 * value.view().size()));
    WriteString(value.text());
    return Check();
  }
  if (value.Is(Kind::kList) || value.Is(Kind::kTuple)) return WriteList(value);
  if (value.IsDict()) return WriteDict(value);
  return context_.Invalid(absl::StrCat("tojson does not take ", value.KindName()));
}

void JsonWriter::BreakLine(bool is_template) {
  if (!style_.indent.has_value()) return;
  out_.Append("\n", is_template);
  for (int32_t i = 0; i < level_; ++i) out_.Append(*style_.indent, is_template);
}

void JsonWriter::Separate(bool is_first, bool is_template) {
  if (!is_first) out_.Append(style_.item_separator, is_template);
  BreakLine(is_template);
}

void JsonWriter::Close(bool was_empty, absl::string_view bracket, bool is_template) {
  --level_;
  if (!was_empty) BreakLine(is_template);
  out_.Append(bracket, is_template);
}

absl::Status JsonWriter::WriteList(const Value& value) {
  const bool is_template = !value.from_client();
  out_.Append("[", is_template);
  ++level_;
  bool is_first = true;
  for (const Value& element : value.list()) {
    Separate(is_first, is_template);
    is_first = false;
    RETURN_IF_ERROR(Write(element));
  }
  Close(is_first, "]", is_template);
  return Check();
}

absl::StatusOr<Value::Dict> JsonWriter::Sorted(const Value::Dict& dict) {
  // Keys of one kind have an order that cannot fail.
  const bool texts = std::all_of(dict.begin(), dict.end(),
                                 [](const Value::Entry& entry) { return entry.first.IsText(); });
  const bool numbers = std::all_of(
      dict.begin(), dict.end(), [](const Value::Entry& entry) { return entry.first.IsNumber(); });
  if (!texts && !numbers) return context_.Invalid("keys of different kinds cannot be sorted");
  Value::Dict sorted = dict;
  std::stable_sort(sorted.begin(), sorted.end(), [&](const auto& a, const auto& b) {
    return texts ? a.first.view() < b.first.view() : a.first.number() < b.first.number();
  });
  RETURN_IF_ERROR(context_.Spend(16 * dict.size() * sizeof(Value::Entry)));
  return sorted;
}

absl::Status JsonWriter::WriteDict(const Value& value) {
  const bool is_template = !value.from_client();
  Value::Dict sorted;
  if (style_.sort_keys) {
    ASSIGN_OR_RETURN(sorted, Sorted(value.dict()));
  }
  out_.Append("{", is_template);
  ++level_;
  bool is_first = true;
  for (const auto& [key, member] : style_.sort_keys ? sorted : value.dict()) {
    Separate(is_first, is_template);
    is_first = false;
    RETURN_IF_ERROR(WriteKey(key));
    out_.Append(style_.key_separator, is_template);
    RETURN_IF_ERROR(Write(member));
  }
  Close(is_first, "}", is_template);
  return Check();
}

absl::Status JsonWriter::WriteKey(const Value& key) {
  if (key.IsText()) return Write(key);
  if (!IsScalar(key)) {
    return context_.Invalid(absl::StrCat("tojson does not take ", key.KindName(), " as a key"));
  }
  WriteString(Text(ScalarText(key), !key.from_client()));
  return Check();
}

std::string JsonWriter::EscapeOf(uint32_t c) const {
  switch (c) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    case '\f':
      return "\\f";
    case '\b':
      return "\\b";
    default:
      break;
  }
  if (c < 0x20 || (style_.ensure_ascii && c > 0x7E && c < 0x10000)) {
    return absl::StrFormat("\\u%04x", c);
  }
  if (!style_.ensure_ascii || c <= 0x7E) return "";
  const uint32_t rest = c - 0x10000;
  return absl::StrFormat("\\u%04x\\u%04x", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
}

void JsonWriter::WriteString(const Text& text) {
  const bool is_template = text.IsTemplate();
  out_.Append("\"", is_template);
  for (TextReader at(text); !at.done(); at.Next()) {
    const std::string escape = EscapeOf(at.code_point());
    out_.Append(escape.empty() ? at.bytes() : absl::string_view(escape), at.is_template());
  }
  out_.Append("\"", is_template);
}

}  // namespace

absl::StatusOr<Text> ToJson(Context* context, const Value& value, const JsonStyle& style) {
  JsonWriter writer(context, style);
  RETURN_IF_ERROR(writer.Write(value));
  return std::move(writer).Take();
}

}  // namespace ebb::model::jinja
