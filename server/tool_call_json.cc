#include "server/tool_call_json.h"

#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace ebb::server {
namespace {

using Json = nlohmann::json;

constexpr absl::string_view kFirstKeys[] = {"name",     "arguments", "parameters",
                                            "function", "type",      "id"};
constexpr size_t kSpaceMax = 64;

Json Parse(absl::string_view text) {
  return Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
}

// Takes white space from the front; false if there is too much.
bool SkipSpace(absl::string_view* text) {
  size_t bytes = 0;
  while (bytes < text->size() && absl::ascii_isspace((*text)[bytes])) ++bytes;
  text->remove_prefix(bytes);
  return bytes <= kSpaceMax;
}

// The bytes of the JSON value at the front. REQUIRES: valid JSON.
size_t ValueBytes(absl::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (in_string) {
      if (c == '\\') ++at;
      in_string = c != '"';
      if (!in_string && depth == 0) return at + 1;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if (c == '}' || c == ']') {
      if (depth == 0) return at;  // What the value stands in ends.
      if (--depth == 0) return at + 1;
    } else if (c == ',' && depth == 0) {
      return at;
    }
  }
  return text.size();
}

// Calls f(key, value's text) for each member. REQUIRES: a valid object.
template <typename F>
void ForEachMember(absl::string_view object, const F& f) {
  object = absl::StripAsciiWhitespace(object);
  object.remove_prefix(1);
  while (true) {
    object = absl::StripLeadingAsciiWhitespace(object);
    if (object.empty() || object[0] == '}') return;
    const size_t key_bytes = ValueBytes(object);
    const Json key = Parse(object.substr(0, key_bytes));
    object = absl::StripLeadingAsciiWhitespace(object.substr(key_bytes));
    object = absl::StripLeadingAsciiWhitespace(object.substr(1));  // ":"
    const size_t value_bytes = ValueBytes(object);
    f(key.get<std::string>(), absl::StripAsciiWhitespace(object.substr(0, value_bytes)));
    object = absl::StripLeadingAsciiWhitespace(object.substr(value_bytes));
    if (absl::StartsWith(object, ",")) object.remove_prefix(1);
  }
}

// The arguments as the text of an object; empty: they are none.
std::optional<std::string> ArgumentsOf(absl::string_view value) {
  if (value == "null") return "{}";
  if (IsJsonObject(value)) return std::string(value);
  const Json json = Parse(value);
  if (!json.is_string()) return std::nullopt;
  const auto text = json.get<std::string>();
  if (!IsJsonObject(text)) return std::nullopt;
  return text;
}

std::optional<ToolCall> ReadCall(absl::string_view object) {
  ToolCall call;
  std::optional<std::string> arguments = "{}";
  absl::string_view function;
  ForEachMember(object, [&](const std::string& key, absl::string_view value) {
    const bool is_text = absl::StartsWith(value, "\"");
    if (key == "name" || (key == "function" && is_text)) {
      if (is_text) call.name = Parse(value).get<std::string>();
    } else if (key == "function") {
      function = value;
    } else if (key == "arguments" || key == "parameters") {
      arguments = ArgumentsOf(value);
    }
  });
  if (call.name.empty() && absl::StartsWith(function, "{")) {
    bool nested = false;  // One level of it, no more.
    ForEachMember(function,
                  [&](const std::string& key, absl::string_view) { nested |= key == "function"; });
    return nested ? std::nullopt : ReadCall(function);
  }
  if (call.name.empty() || !arguments.has_value()) return std::nullopt;
  call.arguments = *std::move(arguments);
  return call;
}

}  // namespace

bool IsJsonObject(absl::string_view json) { return Parse(json).is_object(); }

bool MayBeCalls(absl::string_view begun) {
  if (begun.empty()) return true;
  if (begun[0] == '[') {
    begun.remove_prefix(1);
    if (!SkipSpace(&begun)) return false;
    if (begun.empty()) return true;
  }
  if (begun[0] != '{') return false;
  begun.remove_prefix(1);
  if (!SkipSpace(&begun)) return false;
  for (const absl::string_view key : kFirstKeys) {
    const std::string quoted = absl::StrCat("\"", key, "\"");
    if (absl::StartsWith(begun, quoted) || absl::StartsWith(quoted, begun)) return true;
  }
  return false;
}

std::optional<std::vector<ToolCall>> ReadCalls(absl::string_view json) {
  const Json parsed = Parse(json);
  std::vector<ToolCall> calls;
  if (parsed.is_object()) {
    std::optional<ToolCall> call = ReadCall(json);
    if (!call.has_value()) return std::nullopt;
    calls.push_back(*std::move(call));
    return calls;
  }
  if (!parsed.is_array() || parsed.empty()) return std::nullopt;
  absl::string_view rest = absl::StripAsciiWhitespace(json);
  rest.remove_prefix(1);
  for (const Json& element : parsed) {
    rest = absl::StripLeadingAsciiWhitespace(rest);
    const size_t bytes = ValueBytes(rest);
    std::optional<ToolCall> call =
        element.is_object() ? ReadCall(rest.substr(0, bytes)) : std::nullopt;
    if (!call.has_value()) return std::nullopt;
    calls.push_back(*std::move(call));
    rest = absl::StripLeadingAsciiWhitespace(rest.substr(bytes));
    if (absl::StartsWith(rest, ",")) rest.remove_prefix(1);
  }
  return calls;
}

}  // namespace ebb::server
