// OpenAI's requests, read into ours: one GenerateRequest for each prompt. Ranges are
// RequestReader's to check, as for every way in; here are only the forms that JSON allows.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "model/json_document.h"
#include "proto/ebb.pb.h"
#include "server/tool_calls.h"

namespace ebb::server {

enum class OpenAiApi { kCompletions, kChat };

// How the client wants its answer laid out.
struct AnswerStyle {
  OpenAiApi api = OpenAiApi::kCompletions;
  bool stream = false;
  bool include_usage = false;     // A last event with the usage.
  bool continuous_usage = false;  // The usage in every event.
  bool logprobs = false;
  bool echo_logprobs = false;  // Those of the prompt before them.
  bool return_token_ids = false;
  int64_t n = 1;       // Choices for each prompt.
  bool tools = false;  // The model is told of tools.
  // How their calls stand in the answer's text.
  ToolCallFormat tool_calls = ToolCallFormat::kNone;
  bool parallel_tool_calls = true;  // Else only the first is told.
};

struct OpenAiRequest {
  AnswerStyle style;
  std::vector<v1::GenerateRequest> prompts;  // At least one.
};

// INVALID_ARGUMENT names the field by its JSON name; UNIMPLEMENTED for what unsupported_fields.h
// lists.
absl::StatusOr<OpenAiRequest> ReadCompletionsRequest(model::JsonValue body);
// `tool_calls`: how the model writes calls of tools.
absl::StatusOr<OpenAiRequest> ReadChatRequest(model::JsonValue body, ToolCallFormat tool_calls);

}  // namespace ebb::server
