// The functions that Jinja and transformers give to templates.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/jinja/context.h"
#include "model/jinja/value.h"

namespace ebb::model::jinja {

// range, dict, namespace, raise_exception, strftime_now.
bool IsGlobalFunction(absl::string_view name);

// REQUIRES: IsGlobalFunction(name). INVALID_ARGUMENT from raise_exception, with its message.
absl::StatusOr<Value> CallGlobal(Context* context, absl::string_view name,
                                 const Arguments& arguments);

}  // namespace ebb::model::jinja
