// What a chat request says to the model: its messages, and the tools that it may call. Values are
// RequestReader's to check; here are only the forms that JSON allows.
#pragma once

#include "absl/status/status.h"
#include "model/json_document.h"
#include "proto/ebb.pb.h"

namespace ebb::server {

// `messages`, `tools` and `tool_choice`. With "none" the model is not told of the tools, and
// without tools it calls none: afterwards chat->has_tools_json() says whether the answer may hold
// calls.
//
// INVALID_ARGUMENT names the field by its JSON name; UNIMPLEMENTED for what unsupported_fields.h
// lists, and for a tool_choice that makes the model call one.
absl::Status ReadConversation(model::JsonValue body, v1::Chat* chat);

}  // namespace ebb::server
