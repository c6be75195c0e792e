#include "server/http/openai_error.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "base/retry_after.h"
#include "nlohmann/json.hpp"
#include "server/client_text.h"

namespace ebb::server {
namespace {

using Json = nlohmann::ordered_json;

// The names of ours that errors begin with, and the client's for them.
constexpr std::pair<absl::string_view, absl::string_view> kLeadingNames[] = {
    {"text: ", "prompt: "},
    {"token_ids.ids", "prompt"},
    {"token_ids", "tokens"},
    {"chat: ", "messages: "},
    {"chat.messages", "messages"},
    {"chat.tools_json", "tools"},
    {"chat.template_variables_json", "chat_template_kwargs"},
    {"request_id: ", "x-request-id: "},
};

std::string InTheClientsWords(absl::string_view message) {
  for (const auto& [ours, theirs] : kLeadingNames) {
    if (!absl::StartsWith(message, ours)) continue;
    return absl::StrReplaceAll(absl::StrCat(theirs, message.substr(ours.size())),
                               {{".tool_calls_json", ".tool_calls"}});
  }
  return absl::StrReplaceAll(message, {{"sampling.", ""},
                                       {"stopping.", ""},
                                       {"output.prompt_logprobs", "logprobs"},
                                       {"output.", ""}});
}

// "top_p" of "top_p: must be ...": empty if the message names no field.
std::string FieldOf(absl::string_view message) {
  const size_t colon = message.find(": ");
  if (colon == absl::string_view::npos) return "";
  const absl::string_view name = message.substr(0, colon);
  for (const char c : name) {
    if (!absl::ascii_isalnum(c) && c != '_' && c != '.' && c != '[' && c != ']' && c != '-') {
      return "";
    }
  }
  return std::string(name);
}

absl::string_view TypeOf(int http_status) {
  switch (http_status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 409:
      return "conflict_error";
    case 429:
      return "rate_limit_error";
    default:
      return http_status < 500 ? "invalid_request_error" : "server_error";
  }
}

Json ErrorJson(int http_status, const std::string& message, const std::string& field,
               const std::string& code) {
  Json error = {{"message", message}, {"type", std::string(TypeOf(http_status))}};
  error["param"] = field.empty() ? Json(nullptr) : Json(field);
  error["code"] = code.empty() ? Json(nullptr) : Json(code);
  return {{"error", std::move(error)}};
}

Json ErrorJson(const absl::Status& status, absl::string_view request_id) {
  const std::string message =
      TextInstead(status, request_id).value_or(InTheClientsWords(status.message()));
  const std::string field = FieldOf(message);
  std::string code = absl::AsciiStrToLower(absl::StatusCodeToString(status.code()));
  if (absl::IsNotFound(status) && field == "model") code = "model_not_found";
  // Clients shorten their prompt and ask again when they see this code.
  if (absl::StrContains(message, "; the context holds ")) code = "context_length_exceeded";
  return ErrorJson(HttpStatusOf(status.code()), message, field, code);
}

std::string Text(const Json& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

}  // namespace

int HttpStatusOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk:
      return 200;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kAborted:
      return 409;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kCancelled:
      return 499;
    case absl::StatusCode::kUnimplemented:
      return 501;
    case absl::StatusCode::kUnavailable:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

HttpReply ErrorReply(const absl::Status& status, absl::string_view request_id) {
  HttpReply reply;
  reply.status = HttpStatusOf(status.code());
  reply.body = Text(ErrorJson(status, request_id));
  if (reply.status == 401) reply.headers.push_back({"www-authenticate", "Bearer"});
  // Soon, or at another server: the queue may have room again.
  if (reply.status == 429 || reply.status == 503) {
    const int64_t seconds = base::RetryAfterSeconds(status).value_or(1);
    reply.headers.push_back({"retry-after", absl::StrCat(seconds)});
  }
  return reply;
}

HttpReply ErrorReply(int http_status, const std::string& message) {
  HttpReply reply;
  reply.status = http_status;
  reply.body = Text(ErrorJson(http_status, message, "", ""));
  if (http_status == 503) reply.headers.push_back({"retry-after", "1"});
  return reply;
}

std::string ErrorEvent(const absl::Status& status, absl::string_view request_id) {
  return absl::StrCat("data: ", Text(ErrorJson(status, request_id)), "\n\n");
}

}  // namespace ebb::server
