#include "model/chat_template.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/jinja/ast.h"
#include "model/jinja/interpreter.h"
#include "model/jinja/json_value.h"
#include "model/json_document.h"
#include "model/utf8.h"

namespace ebb::model {
namespace {

using jinja::Text;
using jinja::Value;

Value ClientText(absl::string_view text) {
  return Value::OfText(Text(text, /*is_template=*/false));
}

absl::StatusOr<std::unique_ptr<const JsonDocument>> ParseJson(absl::string_view field,
                                                              absl::string_view text) {
  JsonLimits limits;
  limits.depth_max = kChatJsonDepthMax;
  limits.value_count_max = kChatJsonValuesMax;
  auto document = JsonDocument::Parse(field, text, limits);
  if (!document.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(
        field, ": must be JSON with distinct keys, nested at most ", kChatJsonDepthMax, " deep"));
  }
  return document;
}

// A tool call with its arguments as an object, if they are one in a string.
Value WithParsedArguments(const Value& call) {
  int64_t steps = std::numeric_limits<int64_t>::max();
  const auto replaced = [&](const Value& dict, absl::string_view key, Value value) {
    Value::Dict copy = dict.dict();
    jinja::SetKey(&copy, ClientText(key), std::move(value), &steps);
    return Value::OfDict(std::move(copy), /*from_client=*/true);
  };
  if (!call.IsDict()) return call;
  if (const Value* const function = jinja::FindKey(call.dict(), "function", &steps)) {
    return replaced(call, "function", WithParsedArguments(*function));
  }
  const Value* const arguments = jinja::FindKey(call.dict(), "arguments", &steps);
  if (arguments == nullptr || !arguments->IsText()) return call;
  const auto document = ParseJson("arguments", arguments->view());
  if (!document.ok() || !(*document)->root().IsObject()) return call;
  return replaced(call, "arguments", jinja::FromJson((*document)->root()));
}

absl::StatusOr<Value> ToolCalls(absl::string_view json, bool parse_arguments) {
  ASSIGN_OR_RETURN(const auto document, ParseJson("tool_calls", json));
  const Value calls = jinja::FromJson(document->root());
  if (!parse_arguments || !calls.Is(Value::Kind::kList)) return calls;
  Value::List list;
  for (const Value& call : calls.list()) list.push_back(WithParsedArguments(call));
  return Value::OfList(std::move(list), Value::Kind::kList, /*from_client=*/true);
}

// As transformers lays a message out: reasoning also has its older name, which comes first.
absl::StatusOr<Value> MessageValue(const ChatMessage& message, bool parse_arguments) {
  Value::Dict dict;
  const auto add = [&](absl::string_view key, const std::optional<std::string>& text) {
    if (text.has_value()) dict.emplace_back(Value::Literal(key), ClientText(*text));
  };
  add("thinking", message.reasoning_content);
  add("role", message.role);
  add("content", message.content);
  add("reasoning_content", message.reasoning_content);
  if (message.tool_calls_json.has_value()) {
    ASSIGN_OR_RETURN(Value calls, ToolCalls(*message.tool_calls_json, parse_arguments));
    dict.emplace_back(Value::Literal("tool_calls"), std::move(calls));
  }
  add("tool_call_id", message.tool_call_id);
  add("name", message.name);
  return Value::OfDict(std::move(dict), /*from_client=*/true);
}

size_t SizeOf(const std::optional<std::string>& text) {
  return text.has_value() ? text->size() : 0;
}

size_t BytesOf(const ChatConversation& conversation) {
  size_t bytes = SizeOf(conversation.tools_json) + SizeOf(conversation.variables_json);
  for (const ChatMessage& message : conversation.messages) {
    bytes += message.role.size() + SizeOf(message.content) + SizeOf(message.tool_calls_json) +
             SizeOf(message.tool_call_id) + SizeOf(message.name) +
             SizeOf(message.reasoning_content);
  }
  return bytes;
}

// What the template's names mean before it begins.
class Variables {
 public:
  absl::Status Add(const ChatConversation& conversation, const ChatRenderOptions& options,
                   bool parse_arguments) {
    Value::List messages;
    messages.reserve(conversation.messages.size());
    for (const ChatMessage& message : conversation.messages) {
      ASSIGN_OR_RETURN(messages.emplace_back(), MessageValue(message, parse_arguments));
    }
    Value tools = Value::None();
    if (conversation.tools_json.has_value()) {
      ASSIGN_OR_RETURN(const auto document, ParseJson("tools", *conversation.tools_json));
      tools = jinja::FromJson(document->root());
    }
    values_.emplace_back("add_generation_prompt", Value::Bool(options.add_generation_prompt));
    values_.emplace_back("documents", Value::None());
    // Names that the client gives go before those two, and after what follows.
    RETURN_IF_ERROR(AddClients(conversation.variables_json));
    values_.emplace_back("messages", Value::OfList(std::move(messages), Value::Kind::kList, true));
    values_.emplace_back("tools", std::move(tools));
    for (const auto& [name, token] :
         {std::pair("bos_token", &options.bos_token), std::pair("eos_token", &options.eos_token)}) {
      if (token->has_value()) values_.emplace_back(name, Value::Literal(**token));
    }
    return absl::OkStatus();
  }

  void DefineIn(jinja::Interpreter* interpreter) const {
    for (const auto& [name, value] : values_) interpreter->Define(name, value);
  }

 private:
  absl::Status AddClients(const std::optional<std::string>& json) {
    if (!json.has_value()) return absl::OkStatus();
    ASSIGN_OR_RETURN(const auto document, ParseJson("template_variables", *json));
    if (!document->root().IsObject()) {
      return absl::InvalidArgumentError("template_variables: must be a JSON object");
    }
    return document->root().ForEachMember([&](absl::string_view name, JsonValue value) {
      values_.emplace_back(std::string(name), jinja::FromJson(value));
      return absl::OkStatus();
    });
  }

  std::vector<std::pair<std::string, Value>> values_;
};

}  // namespace

ChatTemplate::ChatTemplate(std::string source, std::unique_ptr<const jinja::Block> body,
                           const ChatTemplateLimits& limits)
    : source_(std::move(source)),
      body_(std::move(body)),
      limits_(limits),
      mentions_tools_(absl::StrContains(source_, "tool")),
      mentions_developer_(absl::StrContains(source_, "developer")) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

absl::StatusOr<ChatTemplate> ChatTemplate::Parse(absl::string_view source,
                                                 const ChatTemplateLimits& limits) {
  if (source.size() > limits.source_bytes_max) {
    return absl::InvalidArgumentError(absl::StrCat("the chat template has ", source.size(),
                                                   " bytes; at most ", limits.source_bytes_max,
                                                   " are allowed"));
  }
  const size_t invalid = FindInvalidUtf8(source);
  if (invalid != absl::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("the chat template is not UTF-8 at byte ", invalid));
  }
  ASSIGN_OR_RETURN(auto body, jinja::ParseTemplate(source, limits.nesting_max));
  return ChatTemplate(std::string(source), std::move(body), limits);
}

absl::StatusOr<std::vector<TextSegment>> ChatTemplate::Render(
    const ChatConversation& conversation, const ChatRenderOptions& options) const {
  const size_t bytes = BytesOf(conversation);
  if (bytes > limits_.text_bytes_max) {
    return absl::ResourceExhaustedError(absl::StrCat("the conversation has ", bytes,
                                                     " bytes; at most ", limits_.text_bytes_max,
                                                     " are allowed"));
  }
  const auto render = [&](bool parse_arguments) -> absl::StatusOr<std::vector<TextSegment>> {
    Variables variables;
    RETURN_IF_ERROR(variables.Add(conversation, options, parse_arguments));
    jinja::Context context(limits_, options.now, options.zone);
    jinja::Interpreter interpreter(&context);
    variables.DefineIn(&interpreter);
    ASSIGN_OR_RETURN(const Text text, interpreter.Render(*body_));
    return text.Segments();
  };
  absl::StatusOr<std::vector<TextSegment>> segments = render(/*parse_arguments=*/true);
  const bool has_calls =
      std::any_of(conversation.messages.begin(), conversation.messages.end(),
                  [](const ChatMessage& message) { return message.tool_calls_json.has_value(); });
  if (!absl::IsInvalidArgument(segments.status()) || !has_calls) return segments;
  absl::StatusOr<std::vector<TextSegment>> again = render(/*parse_arguments=*/false);
  return again.ok() ? std::move(again) : std::move(segments);
}

}  // namespace ebb::model
