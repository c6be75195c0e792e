// JsonNode: a JSON document with the line of each key, for error messages that say where.
//
// nlohmann's own tree forgets lines, keeps the last of two equal keys without a word and nests as
// deep as the stack allows. ParseJson reads through its event interface instead and refuses all
// three. Numbers keep their text, so that nothing is narrowed before the setting's type is known.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ebb::config {

struct JsonMember;

struct JsonNode {
  enum class Kind { kNull, kBool, kInteger, kFraction, kString, kArray, kObject };
  Kind kind = Kind::kNull;
  bool boolean = false;
  // kInteger and kFraction: the number as the file writes it. kString: the string.
  std::string text;
  int line = 1;  // Of the key, or of the value if it has no key.
  // kObject, in the file's order; no two keys are equal. An array's elements are not kept.
  std::vector<JsonMember> members;
};

struct JsonMember {
  std::string name;
  JsonNode value;
};

inline constexpr size_t kJsonBytesMax = 1 << 20;
inline constexpr int kJsonDepthMax = 16;
inline constexpr size_t kJsonMembersMax = 256;  // Of one object.

// One document; // and /* */ comments are skipped. INVALID_ARGUMENT starts with "`source`:LINE: ".
absl::StatusOr<JsonNode> ParseJson(absl::string_view text, absl::string_view source);

// "a number", "an object" and so on, for messages.
absl::string_view KindName(JsonNode::Kind kind);

}  // namespace ebb::config
