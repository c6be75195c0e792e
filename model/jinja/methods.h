// The methods of Python's strings, lists and dicts.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/jinja/context.h"
#include "model/jinja/value.h"

namespace ebb::model::jinja {

// The value has a method of this name that templates may see. (Calling it may be UNIMPLEMENTED.)
bool IsMethod(const Value& value, absl::string_view name);
// It has one that would change it, which Jinja's sandbox hides.
bool IsForbiddenMethod(const Value& value, absl::string_view name);

// REQUIRES: IsMethod(receiver, name).
absl::StatusOr<Value> CallMethod(Context* context, const Value& receiver, absl::string_view name,
                                 const Arguments& arguments);

// str.format() with fields without conversions and formats: {}, {0}, {name}.
absl::StatusOr<Value> Format(Context* context, const Text& text, const Arguments& arguments);

// str.join().
absl::StatusOr<Value> JoinTexts(Context* context, const Text& separator, const Value::List& values);

// A list of texts.
absl::StatusOr<Value> ListOfTexts(Context* context, std::vector<Text> texts);

}  // namespace ebb::model::jinja
