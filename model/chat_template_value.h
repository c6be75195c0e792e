// The values of a chat template. Internal to chat_template.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/text_segment.h"

namespace ebb::model::chat {

// A text that remembers which of its parts the template wrote.
class Text {
 public:
  Text() = default;
  Text(absl::string_view text, bool is_template) { Append(text, is_template); }

  void Append(absl::string_view text, bool is_template);
  void Append(const Text& other);
  // Without the white space at both ends, as Python's str.strip() takes it.
  Text Trimmed() const;
  std::string Joined() const;
  size_t bytes() const { return bytes_; }
  std::vector<TextSegment> TakeSegments() && { return std::move(segments_); }

 private:
  std::vector<TextSegment> segments_;  // None is empty; neighbours differ in is_template.
  size_t bytes_ = 0;
};

// A value type; copies share what is large.
struct Value {
  enum class Kind { kUndefined, kNone, kBool, kInteger, kText, kList, kDict };
  using List = std::vector<Value>;
  using Dict = std::vector<std::pair<std::string, Value>>;

  Kind kind = Kind::kUndefined;
  int32_t depth = 0;                 // Levels of lists and mappings inside, this one included.
  int64_t integer = 0;               // kBool and kInteger.
  std::shared_ptr<const Text> text;  // kText.
  std::shared_ptr<const List> list;  // kList.
  std::shared_ptr<const Dict> dict;  // kDict.

  static Value None();
  static Value Bool(bool value);
  static Value Integer(int64_t value);
  static Value OfText(Text value);
  static Value OfList(List value);
  static Value OfDict(Dict value);

  bool IsNumber() const { return kind == Kind::kBool || kind == Kind::kInteger; }
  // As in Python: empty, zero, none and undefined are false.
  bool IsTrue() const;
  absl::string_view KindName() const;
};

// As Python's ==. Sets *steps_left to less by what it costs, and stops when there are none left.
bool Equal(const Value& a, const Value& b, int64_t* steps_left);

}  // namespace ebb::model::chat
