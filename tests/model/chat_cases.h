// Cases of chat templates as the scripts in tests/golden write them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/chat_template.h"

namespace ebb::model {

inline std::string Joined(const std::vector<TextSegment>& segments) {
  std::string text;
  for (const TextSegment& segment : segments) text += segment.text;
  return text;
}

// Keeps the order of keys, which templates may write out.
using OrderedJson = nlohmann::ordered_json;

inline std::optional<std::string> TextAt(const OrderedJson& object, const char* key) {
  if (!object.contains(key)) return std::nullopt;
  return object[key].get<std::string>();
}

inline std::optional<std::string> JsonAt(const OrderedJson& object, const char* key) {
  if (!object.contains(key)) return std::nullopt;
  return object[key].dump();
}

inline ChatConversation ReadConversation(const OrderedJson& in) {
  ChatConversation conversation;
  for (const auto& message : in["messages"]) {
    conversation.messages.push_back({message["role"].get<std::string>(), TextAt(message, "content"),
                                     JsonAt(message, "tool_calls"), TextAt(message, "tool_call_id"),
                                     TextAt(message, "name"),
                                     TextAt(message, "reasoning_content")});
  }
  conversation.tools_json = JsonAt(in, "tools");
  conversation.variables_json = JsonAt(in, "variables");
  return conversation;
}

// What a case is to be rendered with beside its conversation: see chat_cases.py.
inline ChatRenderOptions CaseOptions(bool add_generation_prompt) {
  ChatRenderOptions options;
  options.add_generation_prompt = add_generation_prompt;
  options.bos_token = "<|begin|>";
  options.eos_token = "<|end|>";
  options.now = absl::FromCivil(absl::CivilSecond(2024, 7, 26, 12, 34, 56), absl::UTCTimeZone());
  return options;
}

inline absl::StatusOr<std::string> RenderCase(const OrderedJson& item) {
  const auto parsed = ChatTemplate::Parse(item["template"].get<std::string>());
  if (!parsed.ok()) return parsed.status();
  const auto segments = parsed->Render(ReadConversation(item["conversation"]),
                                       CaseOptions(item["add_generation_prompt"].get<bool>()));
  if (!segments.ok()) return segments.status();
  return Joined(*segments);
}

}  // namespace ebb::model
