// Jinja's tests: "x is defined".
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/jinja/context.h"
#include "model/jinja/value.h"

namespace ebb::model::jinja {

// UNIMPLEMENTED: a test that we do not know. Jinja may have it, or refuse it as it is reached.
absl::StatusOr<bool> ApplyTest(Context* context, absl::string_view name, const Value& value,
                               const Arguments& arguments);

}  // namespace ebb::model::jinja
