#include "config/json_tree.h"

#include <iterator>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace ebb::config {
namespace {

using nlohmann::json;

// Walks the text and counts lines: the events do not say where they are.
class LineIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  LineIterator(const char* position, int* line) : position_(position), line_(line) {}
  reference operator*() const { return *position_; }
  LineIterator& operator++() {
    if (*position_ == '\n') ++*line_;
    ++position_;
    return *this;
  }
  LineIterator operator++(int) {
    LineIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const LineIterator& other) const { return position_ == other.position_; }
  bool operator!=(const LineIterator& other) const { return position_ != other.position_; }

 private:
  const char* position_;
  int* line_;
};

// "[json.exception.parse_error.101] parse error at line 2, column 3: syntax error ..." without what
// stands before the second colon, which the caller says in our own way.
std::string WithoutPrefix(absl::string_view what) {
  const size_t bracket = what.find("] ");
  if (bracket != absl::string_view::npos) what.remove_prefix(bracket + 2);
  const size_t colon = what.find(": ");
  if (what.substr(0, 14) == "parse error at" && colon != absl::string_view::npos) {
    what.remove_prefix(colon + 2);
  }
  // The commonest slip deserves its cure.
  const bool comma = what.find("object key - unexpected '}'") != absl::string_view::npos;
  return absl::StrCat(what, comma ? " (remove the comma before it)" : "");
}

// Builds the tree; stops at the first problem.
class TreeBuilder : public nlohmann::json_sax<json> {
 public:
  explicit TreeBuilder(const int* line) : line_(line) {}

  bool null() override { return Add(JsonNode::Kind::kNull, "") != nullptr; }
  bool boolean(bool value) override {
    JsonNode* node = Add(JsonNode::Kind::kBool, value ? "true" : "false");
    node->boolean = value;
    return true;
  }
  bool number_integer(number_integer_t value) override {
    return Add(JsonNode::Kind::kInteger, absl::StrCat(value)) != nullptr;
  }
  bool number_unsigned(number_unsigned_t value) override {
    return Add(JsonNode::Kind::kInteger, absl::StrCat(value)) != nullptr;
  }
  bool number_float(number_float_t, const string_t& text) override {
    // Integers past 64 bits come as fractions too; their text tells them apart.
    const bool whole = text.find_first_of(".eE") == std::string::npos;
    return Add(whole ? JsonNode::Kind::kInteger : JsonNode::Kind::kFraction, text) != nullptr;
  }
  bool string(string_t& value) override { return Add(JsonNode::Kind::kString, value) != nullptr; }
  bool binary(binary_t&) override { return Fail(*line_, "binary values are not JSON"); }
  bool start_object(std::size_t) override { return Open(JsonNode::Kind::kObject); }
  bool end_object() override { return Close(); }
  bool start_array(std::size_t) override { return Open(JsonNode::Kind::kArray); }
  bool end_array() override { return Close(); }

  bool key(string_t& name) override {
    if (inside_arrays_ > 0) return true;
    std::vector<JsonMember>& members = open_.back()->members;
    if (members.size() >= kJsonMembersMax) {
      return Fail(*line_, absl::StrCat("more than ", kJsonMembersMax, " keys in one object"));
    }
    for (const auto& [other, node] : members) {
      if (other == name) {
        return Fail(*line_, absl::StrCat("\"", name, "\" appears twice (first in line ", node.line,
                                         "); remove one"));
      }
    }
    key_ = name;
    key_line_ = *line_;
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const json::exception& error) override {
    return Fail(*line_, absl::StrCat("not valid JSON: ", WithoutPrefix(error.what())));
  }

  JsonNode TakeRoot() { return std::move(root_); }
  const std::string& message() const { return message_; }
  int message_line() const { return message_line_; }

 private:
  bool Fail(int line, std::string message) {
    message_line_ = line;
    message_ = std::move(message);
    return false;
  }

  JsonNode* Add(JsonNode::Kind kind, std::string text) {
    if (inside_arrays_ > 0) return &discarded_;
    JsonNode* node = &root_;
    node->line = *line_;
    if (!open_.empty()) {
      open_.back()->members.push_back({key_, JsonNode()});
      node = &open_.back()->members.back().value;
      node->line = key_line_;
    }
    node->kind = kind;
    node->text = std::move(text);
    return node;
  }

  bool Open(JsonNode::Kind kind) {
    if (++depth_ > kJsonDepthMax) {
      return Fail(*line_, absl::StrCat("nested more than ", kJsonDepthMax, " deep"));
    }
    JsonNode* node = Add(kind, "");
    if (kind == JsonNode::Kind::kArray || inside_arrays_ > 0) {
      ++inside_arrays_;
    } else {
      open_.push_back(node);
    }
    return true;
  }

  bool Close() {
    --depth_;
    if (inside_arrays_ > 0) {
      --inside_arrays_;
    } else {
      open_.pop_back();
    }
    return true;
  }

  const int* const line_;
  JsonNode root_;
  // From the root to the innermost object. Stable: an open object's parent gets no new members.
  std::vector<JsonNode*> open_;
  int depth_ = 0;
  int inside_arrays_ = 0;  // Arrays and objects open around here, from the outermost array on.
  JsonNode discarded_;     // Stands for everything inside arrays.
  std::string key_;
  int key_line_ = 1;
  std::string message_;
  int message_line_ = 1;
};

}  // namespace

absl::StatusOr<JsonNode> ParseJson(absl::string_view text, absl::string_view source) {
  if (text.size() > kJsonBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(source, ":1: larger than ", kJsonBytesMax,
                                                   " bytes; this is not a configuration file"));
  }
  int line = 1;
  TreeBuilder builder(&line);
  const LineIterator begin(text.data(), &line);
  const LineIterator end(text.data() + text.size(), &line);
  if (!json::sax_parse(begin, end, &builder, nlohmann::detail::input_format_t::json,
                       /*strict=*/true, /*ignore_comments=*/true)) {
    return absl::InvalidArgumentError(
        absl::StrCat(source, ":", builder.message_line(), ": ", builder.message()));
  }
  return builder.TakeRoot();
}

absl::string_view KindName(JsonNode::Kind kind) {
  switch (kind) {
    case JsonNode::Kind::kNull:
      return "null";
    case JsonNode::Kind::kBool:
      return "true or false";
    case JsonNode::Kind::kInteger:
      return "a whole number";
    case JsonNode::Kind::kFraction:
      return "a number with a fraction or exponent";
    case JsonNode::Kind::kString:
      return "a string";
    case JsonNode::Kind::kArray:
      return "a list";
    case JsonNode::Kind::kObject:
      return "an object";
  }
  return "?";
}

}  // namespace ebb::config
