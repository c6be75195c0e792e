// The operators of expressions on values, as Python's.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/jinja/context.h"
#include "model/jinja/value.h"

namespace ebb::model::jinja {

// + - * / // % **. INVALID_ARGUMENT for kinds that they do not take.
absl::StatusOr<Value> Operate(Context* context, absl::string_view name, const Value& left,
                              const Value& right);
// == != < <= > >= in, "not in".
absl::StatusOr<bool> Compare(Context* context, absl::string_view name, const Value& left,
                             const Value& right);
absl::StatusOr<Value> Negate(Context* context, const Value& value);

// value.name, as Jinja looks it up: a method goes before a key. What is not there is undefined.
absl::StatusOr<Value> Attribute(Context* context, const Value& value, absl::string_view name);
// value[index]: a key goes before a method.
absl::StatusOr<Value> Subscript(Context* context, const Value& value, const Value& index);
// value[begin:end:step]; none where a bound is missing.
absl::StatusOr<Value> Slice(Context* context, const Value& value, const Value& begin,
                            const Value& end, const Value& step);

}  // namespace ebb::model::jinja
