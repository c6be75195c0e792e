// Fields of OpenAI's requests, and of its imitators', that would change the answer and that this
// server cannot do. A value that changes nothing is let pass; any other ends the request with
// UNIMPLEMENTED. Fields that are in no list here and that nobody reads are ignored.
//
// What the server learns is taken out of the lists in unsupported_fields.cc.
#pragma once

#include "absl/status/status.h"
#include "model/json_document.h"

namespace ebb::server {

absl::Status CheckCompletionsFields(model::JsonValue body);
absl::Status CheckChatFields(model::JsonValue body);
// Of messages[index].
absl::Status CheckMessageFields(model::JsonValue message, int64_t index);

}  // namespace ebb::server
