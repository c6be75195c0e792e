// Values as text: as Python's str() and repr() write them, and as JSON.
//
// Strings keep their authors; what is written around and between them belongs to the client if the
// client wrote the list, mapping or number, and to the template otherwise.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "model/jinja/context.h"
#include "model/jinja/value.h"

namespace ebb::model::jinja {

// As str(). UNIMPLEMENTED for what Python writes with addresses: functions, loops, generators.
absl::StatusOr<Text> ToText(Context* context, const Value& value);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;  // Of one level; absent: all on one line.
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};

// As json.dumps(). INVALID_ARGUMENT for what it does not take.
absl::StatusOr<Text> ToJson(Context* context, const Value& value, const JsonStyle& style);

// As repr(): the shortest digits that give the number again.
std::string FloatText(double number);

}  // namespace ebb::model::jinja
