// AnswerJson: the answers to one OpenAI request, as OpenAI's JSON: whole, or as server-sent events.
//
//   chat.completion[.chunk]  role, then contents and calls of tools, then the reason of the end
//   text_completion          texts, the last with the reason
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "nlohmann/json.hpp"
#include "proto/ebb.pb.h"
#include "server/http/logprobs_json.h"
#include "server/http/openai_request.h"
#include "server/text_codec.h"
#include "server/tool_calls.h"

namespace ebb::server {

// What came from one call since it was last asked; see HttpCall::Take.
struct CallNews {
  bool has_prompt_info = false;
  v1::PromptInfo prompt_info;
  bool has_prompt_logprobs = false;
  v1::PromptLogprobs prompt_logprobs;
  bool has_delta = false;
  v1::Delta delta;
  bool has_finished = false;  // It ended well.
  v1::Finished finished;
  absl::Status failure;  // Not OK: it did not.
};

struct AnswerHead {
  std::string id;  // "cmpl-..." or "chatcmpl-...".
  int64_t created_seconds = 0;
  std::string model;
  uint64_t call_seed = 0;  // Random: names the calls of tools.
};

// Thread-compatible. `codec` outlives it.
class AnswerJson {
 public:
  // Each prompt has style.n choices, one after the other.
  AnswerJson(const AnswerHead& head, const AnswerStyle& style, size_t choices,
             const TextCodec* codec);

  // The whole answer, of one CallNews for each choice; all have finished. `usage`: of all calls.
  std::string Whole(const std::vector<CallNews>& choices, const v1::Usage& usage);

  // Events of choice `index` for what came. May be empty.
  std::string Events(size_t index, const CallNews& news);
  // After the last choice's last event.
  std::string LastEvents() const;

 private:
  using Json = nlohmann::ordered_json;
  struct Choice {
    Choice(const TextCodec* codec, ToolCallFormat format) : logprobs(codec), parser(format) {}
    CompletionLogprobs logprobs;
    ToolCallParser parser;
    int64_t calls = 0;  // Told so far.
    bool opened = false;
    v1::PromptInfo prompt_info;
    int64_t completion_tokens = 0;
    int64_t cached_tokens = 0;
  };

  bool is_chat() const { return style_.api == OpenAiApi::kChat; }
  // The prompt's log-probabilities go before the answer's.
  void AddEcho(Choice* choice, const CallNews& news);
  Json LogprobsOf(Choice* choice, const v1::Delta& delta);
  // What of the answer's text came, without calls that are not to be told.
  ToolCallPiece TakePiece(Choice* choice, const CallNews& news) const;
  Json CallJson(const ToolCall& call);
  Json MessageOf(Choice* choice, const CallNews& news);
  Json WholeChoice(size_t index, const CallNews& news);
  Json NewObject(bool chunk) const;
  // One event of choice `index`. `content`: "delta" of a chat, "text" of a completion.
  std::string Event(size_t index, Json content, Json logprobs, Json finish_reason,
                    const Json& extra);

  const AnswerHead head_;
  const AnswerStyle style_;
  const TextCodec* const codec_;
  std::vector<Choice> choices_;
  uint64_t next_call_ = 0;
};

}  // namespace ebb::server
