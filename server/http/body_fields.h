// The fields of a JSON body. null is the same as absent, everywhere. Every error is
// INVALID_ARGUMENT and begins with the field's name: "seed: must be a whole number, got a string".
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/json_document.h"

namespace ebb::server {

// The body, an object at its root: within limits of nesting and size, no key twice. The error says
// at which byte, and holds nothing of the text.
absl::StatusOr<std::unique_ptr<const model::JsonDocument>> ParseBody(absl::string_view text);

// Empty when absent or null.
std::optional<model::JsonValue> FindField(model::JsonValue object, absl::string_view name);

// Each calls `set` when the field is there.
absl::Status ReadBool(model::JsonValue object, absl::string_view name,
                      absl::FunctionRef<void(bool)> set);
// Also takes 16.0.
absl::Status ReadInteger(model::JsonValue object, absl::string_view name,
                         absl::FunctionRef<void(int64_t)> set);
absl::Status ReadNumber(model::JsonValue object, absl::string_view name,
                        absl::FunctionRef<void(double)> set);
absl::Status ReadString(model::JsonValue object, absl::string_view name,
                        absl::FunctionRef<void(absl::string_view)> set);
// One string, or a list of them: for each of them.
absl::Status ReadStrings(model::JsonValue object, absl::string_view name,
                         absl::FunctionRef<void(absl::string_view)> set);
absl::Status ReadIntegers(model::JsonValue object, absl::string_view name,
                          absl::FunctionRef<void(int64_t)> set);

// The value as JSON again.
std::string TextOf(model::JsonValue value);
// The text as a string of JSON, in its quotes.
std::string JsonString(absl::string_view text);

// `value` itself; `name` is for the error.
absl::StatusOr<int64_t> IntegerOf(model::JsonValue value, absl::string_view name);

}  // namespace ebb::server
