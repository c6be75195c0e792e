#include "server/http/unsupported_fields.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/status_macros.h"
#include "server/http/body_fields.h"

namespace ebb::server {
namespace {

using model::JsonValue;
using IsNeutral = bool (*)(JsonValue);

bool Never(JsonValue) { return false; }
bool IsOne(JsonValue value) { return value.Number() == 1.0; }
bool IsTrue(JsonValue value) { return value.Bool() == true; }
bool IsFalse(JsonValue value) { return value.Bool() == false; }
bool IsNone(JsonValue value) { return value.String() == "none"; }
bool IsEmpty(JsonValue value) {
  return value.String() == "" || ((value.IsArray() || value.IsObject()) && value.size() == 0);
}
bool IsTextFormat(JsonValue value) {
  const std::optional<JsonValue> type = FindField(value, "type");
  return type.has_value() && type->String() == "text";
}
bool IsTextOnly(JsonValue value) {
  if (!value.IsArray()) return false;
  return value
      .ForEachElement([](JsonValue element) {
        return element.String() == "text" ? absl::OkStatus() : absl::UnknownError("");
      })
      .ok();
}

struct Field {
  absl::string_view name;
  IsNeutral is_neutral;
};

// Of both kinds of requests.
constexpr Field kFields[] = {
    {"length_penalty", IsOne},
    {"allowed_token_ids", Never},
    {"use_beam_search", IsFalse},
    {"prompt_logprobs", Never},
    {"response_format", IsTextFormat},
    {"structured_outputs", IsEmpty},
    {"guided_json", Never},
    {"guided_regex", Never},
    {"guided_choice", Never},
    {"guided_grammar", Never},
    {"truncate_prompt_tokens", Never},
    {"include_stop_str_in_output", IsFalse},
    {"skip_special_tokens", IsTrue},
};

constexpr Field kCompletionsFields[] = {
    {"suffix", IsEmpty},
    {"prompt_embeds", Never},
    {"add_special_tokens", IsTrue},
};

constexpr Field kChatFields[] = {
    {"functions", IsEmpty},
    {"function_call", IsNone},
    {"modalities", IsTextOnly},
    {"audio", Never},
    {"web_search_options", Never},
    {"reasoning_effort", IsNone},
    {"echo", IsFalse},
    {"add_special_tokens", IsFalse},
    {"add_generation_prompt", IsTrue},
    {"continue_final_message", IsFalse},
    {"chat_template", Never},
    {"documents", IsEmpty},
};

constexpr Field kMessageFields[] = {
    {"function_call", Never},
};

absl::Status Check(JsonValue object, absl::Span<const Field> fields, absl::string_view prefix) {
  for (const Field& field : fields) {
    const std::optional<JsonValue> value = FindField(object, field.name);
    if (!value.has_value() || field.is_neutral(*value)) continue;
    return absl::UnimplementedError(
        absl::StrCat(prefix, field.name,
                     ": what it asks for is not there in this server yet; leave the field out"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckCompletionsFields(JsonValue body) {
  RETURN_IF_ERROR(Check(body, kFields, ""));
  return Check(body, kCompletionsFields, "");
}

absl::Status CheckChatFields(JsonValue body) {
  RETURN_IF_ERROR(Check(body, kFields, ""));
  return Check(body, kChatFields, "");
}

absl::Status CheckMessageFields(JsonValue message, int64_t index) {
  return Check(message, kMessageFields, absl::StrCat("messages[", index, "]."));
}

}  // namespace ebb::server
