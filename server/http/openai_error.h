// Errors in OpenAI's form: {"error":{"message","type","param","code"}}.
//
//   INVALID_ARGUMENT, FAILED_PRECONDITION, OUT_OF_RANGE 400    UNAUTHENTICATED 401
//   PERMISSION_DENIED 403    NOT_FOUND 404    ALREADY_EXISTS, ABORTED 409
//   RESOURCE_EXHAUSTED 429, with Retry-After    CANCELLED 499    UNIMPLEMENTED 501
//   UNAVAILABLE 503, with Retry-After    DEADLINE_EXCEEDED 504    all others 500
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/http/http_message.h"

namespace ebb::server {

int HttpStatusOf(absl::StatusCode code);

// REQUIRES: `status` is not OK. Fields that it names are given the names that the client knows:
// "sampling.top_p: must be ..." is about `top_p`. `request_id` is for client_text.h.
HttpReply ErrorReply(const absl::Status& status, absl::string_view request_id = "");
// What no status stands for, such as 405.
HttpReply ErrorReply(int http_status, const std::string& message);

// The same as a server-sent event, for an answer that has begun.
std::string ErrorEvent(const absl::Status& status, absl::string_view request_id);

}  // namespace ebb::server
