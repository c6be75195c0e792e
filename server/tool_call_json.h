// Calls of tools as JSON: the objects in which models write them. Internal to tool_calls.
#pragma once

#include <optional>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/tool_calls.h"

namespace ebb::server {

// False: no object or list of calls begins so, whatever follows.
bool MayBeCalls(absl::string_view begun);

// The call in an object, or those in a list, which must not be empty. Empty if it is no valid JSON,
// or anything in it is no call.
//
// A call has "name", and its arguments are the object at "arguments" or "parameters", or such an
// object as text in a string; none where they are missing. OpenAI's form, {"type": "function",
// "function": {...}}, is one, too.
std::optional<std::vector<ToolCall>> ReadCalls(absl::string_view json);

bool IsJsonObject(absl::string_view json);

}  // namespace ebb::server
