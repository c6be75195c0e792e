#include "model/chat_template_value.h"

#include <algorithm>

#include "model/chat_template_lexer.h"
#include "model/utf8.h"

namespace ebb::model::chat {

void Text::Append(absl::string_view text, bool is_template) {
  if (text.empty()) return;
  bytes_ += text.size();
  if (segments_.empty() || segments_.back().is_template != is_template) {
    segments_.push_back({std::string(text), is_template});
  } else {
    segments_.back().text.append(text.data(), text.size());
  }
}

void Text::Append(const Text& other) {
  for (const TextSegment& segment : other.segments_) Append(segment.text, segment.is_template);
}

Text Text::Trimmed() const {
  const std::string joined = Joined();
  size_t begin = joined.size();
  size_t end = 0;
  for (size_t at = 0; at < joined.size();) {
    const Utf8Front front = DecodeUtf8Front(absl::string_view(joined).substr(at));
    const bool is_space =
        front.kind == Utf8Front::Kind::kCharacter && IsPythonSpace(front.code_point);
    if (!is_space) begin = std::min(begin, at);
    at += front.length;
    if (!is_space) end = at;
  }
  Text trimmed;
  size_t segment_begin = 0;
  for (const TextSegment& segment : segments_) {
    const size_t segment_end = segment_begin + segment.text.size();
    const size_t from = std::max(begin, segment_begin);
    const size_t to = std::min(end, segment_end);
    if (from < to) {
      trimmed.Append(absl::string_view(segment.text).substr(from - segment_begin, to - from),
                     segment.is_template);
    }
    segment_begin = segment_end;
  }
  return trimmed;
}

std::string Text::Joined() const {
  std::string joined;
  joined.reserve(bytes_);
  for (const TextSegment& segment : segments_) joined += segment.text;
  return joined;
}

Value Value::None() {
  Value value;
  value.kind = Kind::kNone;
  return value;
}

Value Value::Bool(bool flag) {
  Value value;
  value.kind = Kind::kBool;
  value.integer = flag ? 1 : 0;
  return value;
}

Value Value::Integer(int64_t integer) {
  Value value;
  value.kind = Kind::kInteger;
  value.integer = integer;
  return value;
}

Value Value::OfText(Text text) {
  Value value;
  value.kind = Kind::kText;
  value.text = std::make_shared<const Text>(std::move(text));
  return value;
}

Value Value::OfList(List list) {
  Value value;
  value.kind = Kind::kList;
  for (const Value& element : list) value.depth = std::max(value.depth, element.depth);
  ++value.depth;
  value.list = std::make_shared<const List>(std::move(list));
  return value;
}

Value Value::OfDict(Dict dict) {
  Value value;
  value.kind = Kind::kDict;
  for (const auto& [key, member] : dict) value.depth = std::max(value.depth, member.depth);
  ++value.depth;
  value.dict = std::make_shared<const Dict>(std::move(dict));
  return value;
}

bool Value::IsTrue() const {
  switch (kind) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInteger:
      return integer != 0;
    case Kind::kText:
      return text->bytes() > 0;
    case Kind::kList:
      return !list->empty();
    case Kind::kDict:
      return !dict->empty();
  }
  return false;
}

absl::string_view Value::KindName() const {
  switch (kind) {
    case Kind::kUndefined:
      return "an undefined value";
    case Kind::kNone:
      return "none";
    case Kind::kBool:
      return "a boolean";
    case Kind::kInteger:
      return "a number";
    case Kind::kText:
      return "a string";
    case Kind::kList:
      return "a list";
    case Kind::kDict:
      return "a mapping";
  }
  return "";
}

bool Equal(const Value& a, const Value& b, int64_t* steps_left) {
  if (--*steps_left < 0) return false;
  if (a.IsNumber() && b.IsNumber()) return a.integer == b.integer;
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Value::Kind::kText:
      if (a.text->bytes() != b.text->bytes()) return false;
      *steps_left -= static_cast<int64_t>(a.text->bytes() / 64);
      return a.text->Joined() == b.text->Joined();
    case Value::Kind::kList:
      return std::equal(a.list->begin(), a.list->end(), b.list->begin(), b.list->end(),
                        [&](const Value& x, const Value& y) { return Equal(x, y, steps_left); });
    case Value::Kind::kDict:
      // Only messages are mappings, and their keys are always in the same order.
      return std::equal(a.dict->begin(), a.dict->end(), b.dict->begin(), b.dict->end(),
                        [&](const auto& x, const auto& y) {
                          return x.first == y.first && Equal(x.second, y.second, steps_left);
                        });
    default:
      return true;
  }
}

}  // namespace ebb::model::chat
