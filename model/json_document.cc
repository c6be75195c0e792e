#include "model/json_document.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "model/load_error.h"

namespace ebb::model {

// Told of each value by nlohmann's parser, which neither recurses nor keeps anything itself.
class JsonDocument::Builder final : public nlohmann::json_sax<nlohmann::json> {
 public:
  Builder(JsonDocument* document, const JsonLimits& limits, int64_t offset)
      : document_(document), limits_(limits), offset_(offset) {}

  absl::Status status() const { return status_; }

  bool null() override { return Add(Type::kNull) != nullptr; }
  bool boolean(bool value) override { return Add(value ? Type::kTrue : Type::kFalse) != nullptr; }
  bool number_integer(number_integer_t value) override {
    Node* const node = Add(Type::kInteger);
    if (node != nullptr) node->integer = value;
    return node != nullptr;
  }
  bool number_unsigned(number_unsigned_t value) override {
    Node* const node = Add(Type::kUnsigned);
    if (node != nullptr) node->natural = value;
    return node != nullptr;
  }
  bool number_float(number_float_t value, const string_t& text) override {
    if (!std::isfinite(value)) {
      return Fail("json", absl::StrCat("the number ", Printable(text), " is too large."));
    }
    Node* const node = Add(Type::kFloat);
    if (node != nullptr) node->number = value;
    return node != nullptr;
  }
  bool string(string_t& value) override { return AddString(value); }
  bool binary(binary_t&) override { return false; }  // JSON has none.
  bool key(string_t& value) override { return AddString(value); }

  bool start_object(size_t) override { return Open(Type::kObject); }
  bool end_object() override { return Close() && CheckKeys(); }
  bool start_array(size_t) override { return Open(Type::kArray); }
  bool end_array() override { return Close(); }

  bool parse_error(size_t position, const std::string& last_token,
                   const nlohmann::json::exception&) override {
    return FailAt(position, last_token);
  }
  bool FailAt(size_t position, absl::string_view near) {
    status_ = LoadError(absl::StatusCode::kInvalidArgument, document_->name_, "json",
                        offset_ + static_cast<int64_t>(position),
                        absl::StrCat("it is no JSON near \"", Printable(near),
                                     "\". The file is damaged: fetch it again."));
    return false;
  }

 private:
  bool Fail(absl::string_view reason, absl::string_view message) {
    status_ = LoadError(absl::StatusCode::kInvalidArgument, document_->name_, reason, kNoOffset,
                        absl::StrCat(message, " The file is damaged: fetch it again."));
    return false;
  }

  Node* Add(Type type) {
    if (document_->nodes_.size() >= limits_.value_count_max) {
      Fail("limit", absl::StrCat("it holds more than ", limits_.value_count_max, " values."));
      return nullptr;
    }
    // An object's keys and values come in turn; the keys are counted.
    if (!open_.empty()) {
      Node& parent = document_->nodes_[open_.back()];
      at_key_ = parent.type == Type::kObject && !at_key_;
      if (at_key_ || parent.type == Type::kArray) ++parent.size;
    }
    Node node;
    node.type = type;
    node.end = static_cast<uint32_t>(document_->nodes_.size()) + 1;
    document_->nodes_.push_back(node);
    return &document_->nodes_.back();
  }

  bool AddString(absl::string_view text) {
    Node* const node = Add(Type::kString);
    if (node == nullptr) return false;
    if (text.size() > std::numeric_limits<uint32_t>::max()) return Fail("limit", "a text is huge.");
    node->string_begin = document_->strings_.size();
    node->size = static_cast<uint32_t>(text.size());
    document_->strings_.append(text.data(), text.size());
    return true;
  }

  bool Open(Type type) {
    if (open_.size() >= static_cast<size_t>(limits_.depth_max)) {
      return Fail("depth",
                  absl::StrCat("values are nested more than ", limits_.depth_max, " deep."));
    }
    if (Add(type) == nullptr) return false;
    open_.push_back(static_cast<uint32_t>(document_->nodes_.size()) - 1);
    at_key_ = false;
    return true;
  }

  bool Close() {
    last_closed_ = open_.back();
    open_.pop_back();
    document_->nodes_[last_closed_].end = static_cast<uint32_t>(document_->nodes_.size());
    at_key_ = false;
    return true;
  }

  bool CheckKeys() {
    std::vector<absl::string_view> keys;
    keys.reserve(document_->nodes_[last_closed_].size);
    const uint32_t end = document_->nodes_[last_closed_].end;
    for (uint32_t i = last_closed_ + 1; i < end; i = document_->nodes_[i + 1].end) {
      keys.push_back(document_->StringOf(document_->nodes_[i]));
    }
    std::sort(keys.begin(), keys.end());
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    if (twice == keys.end()) return true;
    return Fail("dup_key", absl::StrCat("the key \"", Printable(*twice), "\" occurs twice."));
  }

  JsonDocument* const document_;
  const JsonLimits limits_;
  const int64_t offset_;
  std::vector<uint32_t> open_;  // The objects and arrays around the current place.
  bool at_key_ = false;         // The innermost object's last node is a key without a value.
  uint32_t last_closed_ = 0;
  absl::Status status_;
};

absl::StatusOr<std::unique_ptr<const JsonDocument>> JsonDocument::Parse(absl::string_view file,
                                                                        absl::string_view text,
                                                                        const JsonLimits& limits,
                                                                        int64_t offset) {
  auto document = std::unique_ptr<JsonDocument>(new JsonDocument);
  document->name_ = std::string(file);
  Builder builder(document.get(), limits, offset);
  // The parser takes it for the end and would leave the rest unread.
  if (const size_t nul = text.find('\0'); nul != absl::string_view::npos) {
    builder.FailAt(nul, text.substr(nul, 1));
    return builder.status();
  }
  // No text makes more; what is not written to costs nothing, where growing would cost twice.
  document->strings_.reserve(text.size());
  document->nodes_.reserve(std::min<size_t>(limits.value_count_max, text.size() / 2 + 1));
  const bool parsed = nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  RETURN_IF_ERROR(builder.status());
  CHECK(parsed && !document->nodes_.empty());
  return document;
}

bool JsonValue::IsObject() const {
  return document_->nodes_[index_].type == JsonDocument::Type::kObject;
}
bool JsonValue::IsArray() const {
  return document_->nodes_[index_].type == JsonDocument::Type::kArray;
}
bool JsonValue::IsString() const {
  return document_->nodes_[index_].type == JsonDocument::Type::kString;
}
bool JsonValue::IsNull() const {
  return document_->nodes_[index_].type == JsonDocument::Type::kNull;
}

absl::string_view JsonValue::TypeName() const {
  switch (document_->nodes_[index_].type) {
    case JsonDocument::Type::kNull:
      return "null";
    case JsonDocument::Type::kFalse:
    case JsonDocument::Type::kTrue:
      return "a truth value";
    case JsonDocument::Type::kInteger:
    case JsonDocument::Type::kUnsigned:
    case JsonDocument::Type::kFloat:
      return "a number";
    case JsonDocument::Type::kString:
      return "a string";
    case JsonDocument::Type::kArray:
      return "an array";
    case JsonDocument::Type::kObject:
      return "an object";
  }
  return "?";
}

std::optional<absl::string_view> JsonValue::String() const {
  if (!IsString()) return std::nullopt;
  return document_->StringOf(document_->nodes_[index_]);
}

std::optional<bool> JsonValue::Bool() const {
  const JsonDocument::Type type = document_->nodes_[index_].type;
  if (type == JsonDocument::Type::kTrue) return true;
  if (type == JsonDocument::Type::kFalse) return false;
  return std::nullopt;
}

std::optional<int64_t> JsonValue::Int64() const {
  const JsonDocument::Node& node = document_->nodes_[index_];
  if (node.type == JsonDocument::Type::kInteger) return node.integer;
  if (node.type == JsonDocument::Type::kUnsigned &&
      node.natural <= uint64_t{std::numeric_limits<int64_t>::max()}) {
    return static_cast<int64_t>(node.natural);
  }
  return std::nullopt;
}

std::optional<double> JsonValue::Number() const {
  const JsonDocument::Node& node = document_->nodes_[index_];
  if (node.type == JsonDocument::Type::kInteger) return static_cast<double>(node.integer);
  if (node.type == JsonDocument::Type::kUnsigned) return static_cast<double>(node.natural);
  if (node.type == JsonDocument::Type::kFloat) return node.number;
  return std::nullopt;
}

uint32_t JsonValue::size() const {
  return IsObject() || IsArray() ? document_->nodes_[index_].size : 0;
}

std::optional<JsonValue> JsonValue::Find(absl::string_view key) const {
  if (!IsObject()) return std::nullopt;
  const std::vector<JsonDocument::Node>& nodes = document_->nodes_;
  for (uint32_t i = index_ + 1; i < nodes[index_].end; i = nodes[i + 1].end) {
    if (document_->StringOf(nodes[i]) == key) return JsonValue(document_, i + 1);
  }
  return std::nullopt;
}

absl::Status JsonValue::ForEachMember(
    absl::FunctionRef<absl::Status(absl::string_view, JsonValue)> f) const {
  CHECK(IsObject());
  const std::vector<JsonDocument::Node>& nodes = document_->nodes_;
  for (uint32_t i = index_ + 1; i < nodes[index_].end; i = nodes[i + 1].end) {
    RETURN_IF_ERROR(f(document_->StringOf(nodes[i]), JsonValue(document_, i + 1)));
  }
  return absl::OkStatus();
}

absl::Status JsonValue::ForEachElement(absl::FunctionRef<absl::Status(JsonValue)> f) const {
  CHECK(IsArray());
  const std::vector<JsonDocument::Node>& nodes = document_->nodes_;
  for (uint32_t i = index_ + 1; i < nodes[index_].end; i = nodes[i].end) {
    RETURN_IF_ERROR(f(JsonValue(document_, i)));
  }
  return absl::OkStatus();
}

}  // namespace ebb::model
