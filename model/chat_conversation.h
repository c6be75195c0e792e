// ChatConversation: what a client gives a chat template.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ebb::model {

// Of each JSON in a conversation.
inline constexpr int32_t kChatJsonDepthMax = 64;
inline constexpr uint32_t kChatJsonValuesMax = 1'000'000;

// A member that is absent is undefined for the template.
struct ChatMessage {
  std::string role;
  std::optional<std::string> content = std::nullopt;
  std::optional<std::string> tool_calls_json = std::nullopt;  // A JSON array, as OpenAI's.
  std::optional<std::string> tool_call_id = std::nullopt;
  std::optional<std::string> name = std::nullopt;
  std::optional<std::string> reasoning_content = std::nullopt;
};

struct ChatConversation {
  std::vector<ChatMessage> messages;
  std::optional<std::string> tools_json = std::nullopt;      // A JSON array, as OpenAI's.
  std::optional<std::string> variables_json = std::nullopt;  // A JSON object.
};

}  // namespace ebb::model
