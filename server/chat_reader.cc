#include "server/chat_reader.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/json_document.h"
#include "server/field_checks.h"

namespace ebb::server {
namespace {

using model::JsonDocument;
using model::JsonValue;

constexpr int kMessagesMax = 1024;
constexpr uint32_t kToolsMax = 1024;
constexpr uint32_t kCallsMax = 128;
constexpr size_t kNameBytesMax = 256;

absl::StatusOr<std::unique_ptr<const JsonDocument>> ParseJson(absl::string_view field,
                                                              absl::string_view text) {
  model::JsonLimits limits;
  limits.depth_max = model::kChatJsonDepthMax;
  limits.value_count_max = model::kChatJsonValuesMax;
  auto document = JsonDocument::Parse(field, text, limits);
  if (!document.ok()) {
    return FieldError(field, absl::StrCat("must be JSON, with no key twice in an object, nested at "
                                          "most ",
                                          model::kChatJsonDepthMax, " deep, of at most ",
                                          model::kChatJsonValuesMax, " values"));
  }
  return document;
}

absl::Status CheckShort(absl::string_view field, absl::string_view name) {
  if (!name.empty() && name.size() <= kNameBytesMax) return absl::OkStatus();
  return FieldError(field,
                    absl::StrCat("must have 1 to ", kNameBytesMax, " bytes, got ", name.size()));
}

// What tools and calls have in common: {"type": "function", "function": {"name": ...}}.
absl::StatusOr<JsonValue> FunctionOf(const std::string& field, JsonValue object) {
  const std::optional<JsonValue> type = object.Find("type");
  if (type.has_value() && type->String() != "function") {
    return FieldError(absl::StrCat(field, ".type"), "must be \"function\"");
  }
  const std::optional<JsonValue> function = object.Find("function");
  if (!function.has_value() || !function->IsObject()) {
    return FieldError(absl::StrCat(field, ".function"), "is required and must be an object");
  }
  const std::optional<JsonValue> name = function->Find("name");
  const std::string name_field = absl::StrCat(field, ".function.name");
  if (!name.has_value() || !name->IsString()) {
    return FieldError(name_field, "is required and must be a string");
  }
  RETURN_IF_ERROR(CheckShort(name_field, *name->String()));
  return *function;
}

absl::Status CheckTool(const std::string& field, JsonValue tool) {
  ASSIGN_OR_RETURN(const JsonValue function, FunctionOf(field, tool));
  const std::optional<JsonValue> parameters = function.Find("parameters");
  if (!parameters.has_value() || parameters->IsObject() || parameters->IsNull()) {
    return absl::OkStatus();
  }
  return FieldError(absl::StrCat(field, ".function.parameters"), "must be an object");
}

absl::Status CheckCall(const std::string& field, JsonValue call) {
  ASSIGN_OR_RETURN(const JsonValue function, FunctionOf(field, call));
  const std::optional<JsonValue> arguments = function.Find("arguments");
  if (arguments.has_value() && (arguments->IsString() || arguments->IsObject())) {
    return absl::OkStatus();
  }
  return FieldError(absl::StrCat(field, ".function.arguments"),
                    "is required and must be a string of JSON or an object");
}

// A JSON array of 1 to `count_max` objects that pass `check`.
absl::Status CheckArray(const std::string& field, absl::string_view text, uint32_t count_max,
                        absl::Status (*check)(const std::string&, JsonValue)) {
  ASSIGN_OR_RETURN(const auto document, ParseJson(field, text));
  const JsonValue root = document->root();
  if (!root.IsArray()) {
    return FieldError(field, absl::StrCat("must be a JSON array, got ", root.TypeName()));
  }
  if (root.size() < 1 || root.size() > count_max) {
    return FieldError(field,
                      absl::StrCat("must have 1 to ", count_max, " items, got ", root.size()));
  }
  int64_t i = 0;
  return root.ForEachElement([&](JsonValue element) {
    const std::string name = absl::StrCat(field, "[", i++, "]");
    if (!element.IsObject()) return FieldError(name, "must be an object");
    return check(name, element);
  });
}

absl::Status CheckVariables(absl::string_view text) {
  const std::string field = "chat.template_variables_json";
  ASSIGN_OR_RETURN(const auto document, ParseJson(field, text));
  if (!document->root().IsObject()) {
    return FieldError(field,
                      absl::StrCat("must be a JSON object, got ", document->root().TypeName()));
  }
  // What the template must be able to rely on.
  for (const absl::string_view name :
       {"messages", "tools", "add_generation_prompt", "continue_final_message", "chat_template",
        "tokenize", "bos_token", "eos_token", "raise_exception", "strftime_now", "namespace",
        "range", "dict", "loop"}) {
    if (!document->root().Find(name).has_value()) continue;
    return FieldError(field, absl::StrCat("must not set \"", name, "\""));
  }
  return absl::OkStatus();
}

absl::Status CheckRole(const std::string& field, const v1::ChatMessage& message) {
  const std::string& role = message.role();
  for (const absl::string_view known : {"system", "user", "assistant", "tool", "developer"}) {
    if (role == known) return absl::OkStatus();
  }
  return FieldError(absl::StrCat(field, ".role"),
                    "must be \"system\", \"user\", \"assistant\", \"tool\" or \"developer\"");
}

// That a field stands in a message of the role that it is for.
absl::Status CheckIsFor(const std::string& field, const v1::ChatMessage& message,
                        absl::string_view role, absl::string_view name, bool is_set) {
  if (!is_set || message.role() == role) return absl::OkStatus();
  return FieldError(absl::StrCat(field, ".", name),
                    absl::StrCat("is for messages of the role \"", role, "\""));
}

absl::StatusOr<model::ChatMessage> ReadMessage(const std::string& field,
                                               const v1::ChatMessage& in) {
  RETURN_IF_ERROR(CheckRole(field, in));
  RETURN_IF_ERROR(CheckIsFor(field, in, "assistant", "tool_calls_json", in.has_tool_calls_json()));
  RETURN_IF_ERROR(
      CheckIsFor(field, in, "assistant", "reasoning_content", in.has_reasoning_content()));
  RETURN_IF_ERROR(CheckIsFor(field, in, "tool", "tool_call_id", in.has_tool_call_id()));
  if (!in.has_content() && !in.has_tool_calls_json()) {
    return FieldError(absl::StrCat(field, ".content"), "is required");
  }
  model::ChatMessage message;
  message.role = in.role();
  if (in.has_content()) message.content = in.content();
  if (in.has_tool_calls_json()) {
    RETURN_IF_ERROR(CheckArray(absl::StrCat(field, ".tool_calls_json"), in.tool_calls_json(),
                               kCallsMax, CheckCall));
    message.tool_calls_json = in.tool_calls_json();
  }
  if (in.has_tool_call_id()) {
    RETURN_IF_ERROR(CheckShort(absl::StrCat(field, ".tool_call_id"), in.tool_call_id()));
    message.tool_call_id = in.tool_call_id();
  }
  if (in.has_name()) {
    RETURN_IF_ERROR(CheckShort(absl::StrCat(field, ".name"), in.name()));
    message.name = in.name();
  }
  if (in.has_reasoning_content()) message.reasoning_content = in.reasoning_content();
  return message;
}

}  // namespace

size_t ChatBytes(const v1::Chat& chat) {
  size_t bytes = chat.tools_json().size() + chat.template_variables_json().size();
  for (const v1::ChatMessage& message : chat.messages()) {
    bytes += message.content().size() + message.tool_calls_json().size() +
             message.reasoning_content().size();
  }
  return bytes;
}

absl::StatusOr<model::ChatConversation> ReadChat(const v1::Chat& chat) {
  if (chat.messages().empty()) return FieldError("chat.messages", "must not be empty");
  RETURN_IF_ERROR(CountAtMost("chat.messages", chat.messages_size(), kMessagesMax));
  model::ChatConversation conversation;
  for (int i = 0; i < chat.messages_size(); ++i) {
    ASSIGN_OR_RETURN(conversation.messages.emplace_back(),
                     ReadMessage(absl::StrCat("chat.messages[", i, "]"), chat.messages(i)));
  }
  if (chat.has_tools_json()) {
    RETURN_IF_ERROR(CheckArray("chat.tools_json", chat.tools_json(), kToolsMax, CheckTool));
    conversation.tools_json = chat.tools_json();
  }
  if (chat.has_template_variables_json()) {
    RETURN_IF_ERROR(CheckVariables(chat.template_variables_json()));
    conversation.variables_json = chat.template_variables_json();
  }
  return conversation;
}

}  // namespace ebb::server
