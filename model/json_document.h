// JsonDocument: a JSON text from a stranger, checked and kept small.
//
//   nodes    [object 3][string "a"][number 1][string "b"][array 2][true][null]   in text order
//   strings  "ab"                                                                joined
//
// Beside the syntax, three things are refused: nesting deeper than a limit, more values than a
// limit, and a key that occurs twice in an object (readers differ in which one they believe). A
// value takes 24 bytes and its string's length, whatever it is.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ebb::model {

struct JsonLimits {
  int32_t depth_max = 32;
  uint32_t value_count_max = 3'000'000;  // Keys count, too.
};

class JsonDocument;

// A value of a document, which outlives it. Cheap to copy.
class JsonValue {
 public:
  bool IsObject() const;
  bool IsArray() const;
  bool IsString() const;
  bool IsNull() const;
  // "an object", "a string", ...; for messages.
  absl::string_view TypeName() const;

  // Each is empty when the value has another type. Integers must be written without a point.
  std::optional<absl::string_view> String() const;
  std::optional<bool> Bool() const;
  std::optional<int64_t> Int64() const;  // Empty too when it does not fit.
  std::optional<double> Number() const;  // Integers, too. Always finite.

  // Members of an object, elements of an array; 0 for anything else.
  uint32_t size() const;
  // Empty when this is no object, or has no such member. Looks at the members one by one.
  std::optional<JsonValue> Find(absl::string_view key) const;
  // Calls for each member in the text's order, until one fails. REQUIRES: IsObject().
  absl::Status ForEachMember(absl::FunctionRef<absl::Status(absl::string_view, JsonValue)> f) const;
  // The same for an array's elements. REQUIRES: IsArray().
  absl::Status ForEachElement(absl::FunctionRef<absl::Status(JsonValue)> f) const;

 private:
  friend class JsonDocument;
  JsonValue(const JsonDocument* document, uint32_t index) : document_(document), index_(index) {}

  const JsonDocument* document_;
  uint32_t index_;
};

// Immutable once parsed.
class JsonDocument {
 public:
  // `file` is for messages; `offset` is where in the file the text begins. INVALID_ARGUMENT as
  // load_error.h says, with the reasons json, depth, limit and dup_key.
  static absl::StatusOr<std::unique_ptr<const JsonDocument>> Parse(absl::string_view file,
                                                                   absl::string_view text,
                                                                   const JsonLimits& limits = {},
                                                                   int64_t offset = 0);

  JsonValue root() const { return JsonValue(this, 0); }
  // The file's name.
  const std::string& name() const { return name_; }

 private:
  friend class JsonValue;
  class Builder;

  enum class Type : uint8_t {
    kNull,
    kFalse,
    kTrue,
    kInteger,
    kUnsigned,
    kFloat,
    kString,
    kArray,
    kObject
  };
  struct Node {
    Type type = Type::kNull;
    uint32_t end = 0;   // The index behind the last node of this value.
    uint32_t size = 0;  // Elements, members, or bytes of a string.
    union {
      uint64_t string_begin = 0;
      int64_t integer;
      uint64_t natural;
      double number;
    };
  };

  JsonDocument() = default;
  absl::string_view StringOf(const Node& node) const {
    return absl::string_view(strings_).substr(node.string_begin, node.size);
  }

  std::string name_;
  std::vector<Node> nodes_;
  std::string strings_;
};

}  // namespace ebb::model
