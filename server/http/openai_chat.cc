#include "server/http/openai_chat.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "server/field_checks.h"
#include "server/http/body_fields.h"
#include "server/http/unsupported_fields.h"

namespace ebb::server {
namespace {

using model::JsonValue;

// A string, or parts that are all text; one line each.
absl::Status ReadContent(JsonValue content, const std::string& name, std::string* out) {
  if (const std::optional<absl::string_view> text = content.String()) {
    *out = std::string(*text);
    return absl::OkStatus();
  }
  if (!content.IsArray()) {
    return FieldError(
        name, absl::StrCat("must be a string or a list of parts, got ", content.TypeName()));
  }
  int64_t i = 0;
  return content.ForEachElement([&](JsonValue part) -> absl::Status {
    const std::string part_name = absl::StrCat(name, "[", i, "]");
    if (!part.IsObject()) return FieldError(part_name, "must be an object");
    const std::optional<JsonValue> type = FindField(part, "type");
    if (!type.has_value() || !type->String().has_value()) {
      return FieldError(absl::StrCat(part_name, ".type"), "must be a string");
    }
    if (type->String() != "text") {
      return absl::UnimplementedError(
          absl::StrCat(part_name, ".type: this server reads parts of type \"text\" only"));
    }
    const std::optional<JsonValue> text = FindField(part, "text");
    if (!text.has_value() || !text->String().has_value()) {
      return FieldError(absl::StrCat(part_name, ".text"), "must be a string");
    }
    absl::StrAppend(out, i == 0 ? "" : "\n", *text->String());
    ++i;
    return absl::OkStatus();
  });
}

// A list, which is the same as absent when it is empty.
absl::Status ReadList(JsonValue object, absl::string_view name, const std::string& path,
                      absl::FunctionRef<void(std::string)> set) {
  const std::optional<JsonValue> list = FindField(object, name);
  if (!list.has_value()) return absl::OkStatus();
  if (!list->IsArray()) {
    return FieldError(absl::StrCat(path, name),
                      absl::StrCat("must be a list, got ", list->TypeName()));
  }
  if (list->size() > 0) set(TextOf(*list));
  return absl::OkStatus();
}

// A text, which is the same as absent when it is empty.
absl::Status ReadText(JsonValue object, absl::string_view name, const std::string& path,
                      absl::FunctionRef<void(std::string)> set) {
  const std::optional<JsonValue> value = FindField(object, name);
  if (!value.has_value()) return absl::OkStatus();
  const std::optional<absl::string_view> text = value->String();
  if (!text.has_value()) {
    return FieldError(absl::StrCat(path, name),
                      absl::StrCat("must be a string, got ", value->TypeName()));
  }
  if (!text->empty()) set(std::string(*text));
  return absl::OkStatus();
}

// What a message has beside its role and content.
absl::Status ReadToolFields(JsonValue in, const std::string& path, v1::ChatMessage* out) {
  RETURN_IF_ERROR(ReadList(in, "tool_calls", path,
                           [&](std::string json) { out->set_tool_calls_json(std::move(json)); }));
  RETURN_IF_ERROR(ReadText(in, "tool_call_id", path,
                           [&](std::string id) { out->set_tool_call_id(std::move(id)); }));
  return ReadText(in, "name", path, [&](std::string name) { out->set_name(std::move(name)); });
}

absl::Status ReadMessages(JsonValue body, v1::Chat* chat) {
  const std::optional<JsonValue> messages = FindField(body, "messages");
  if (!messages.has_value()) return FieldError("messages", "is required");
  if (!messages->IsArray()) return FieldError("messages", "must be a list");
  int64_t i = 0;
  return messages->ForEachElement([&](JsonValue in) -> absl::Status {
    const std::string name = absl::StrCat("messages[", i, "]");
    if (!in.IsObject()) return FieldError(name, "must be an object");
    RETURN_IF_ERROR(CheckMessageFields(in, i));
    v1::ChatMessage* const message = chat->add_messages();
    const std::optional<JsonValue> role = FindField(in, "role");
    if (!role.has_value() || !role->String().has_value()) {
      return FieldError(absl::StrCat(name, ".role"), "must be a string");
    }
    // OpenAI's newer name for it.
    message->set_role(role->String() == "developer" ? "system" : std::string(*role->String()));
    if (const std::optional<JsonValue> content = FindField(in, "content")) {
      RETURN_IF_ERROR(
          ReadContent(*content, absl::StrCat(name, ".content"), message->mutable_content()));
    }
    ++i;
    return ReadToolFields(in, name + ".", message);
  });
}

// Whether the tools are to be told to the model.
absl::StatusOr<bool> ReadToolChoice(JsonValue body) {
  const std::optional<JsonValue> choice = FindField(body, "tool_choice");
  if (!choice.has_value() || choice->String() == "auto") return true;
  if (choice->String() == "none") return false;
  if (choice->IsObject() || choice->String() == "required") {
    return absl::UnimplementedError(
        "tool_choice: making the model call a tool takes answers that are held to a form, which "
        "this server cannot do yet; use \"auto\" or \"none\"");
  }
  return FieldError("tool_choice", "must be \"auto\", \"none\", \"required\" or an object");
}

// Variables for the template. One that is null is not set, and so is not defined there either.
absl::Status ReadTemplateVariables(JsonValue body, v1::Chat* chat) {
  constexpr absl::string_view kName = "chat_template_kwargs";
  const std::optional<JsonValue> variables = FindField(body, kName);
  if (!variables.has_value()) return absl::OkStatus();
  if (!variables->IsObject()) {
    return FieldError(kName, absl::StrCat("must be an object, got ", variables->TypeName()));
  }
  std::string json;
  RETURN_IF_ERROR(variables->ForEachMember([&](absl::string_view name, JsonValue value) {
    if (value.IsNull()) return absl::OkStatus();
    absl::StrAppend(&json, json.empty() ? "{" : ",", JsonString(name), ":", TextOf(value));
    return absl::OkStatus();
  }));
  if (!json.empty()) chat->set_template_variables_json(json + "}");
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadConversation(JsonValue body, v1::Chat* chat) {
  RETURN_IF_ERROR(ReadMessages(body, chat));
  RETURN_IF_ERROR(ReadTemplateVariables(body, chat));
  ASSIGN_OR_RETURN(const bool tells_tools, ReadToolChoice(body));
  return ReadList(body, "tools", "", [&](std::string json) {
    if (tells_tools) chat->set_tools_json(std::move(json));
  });
}

}  // namespace ebb::server
