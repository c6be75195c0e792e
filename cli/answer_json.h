// The server's answers as JSON objects, one for each --json answer. Keys are part of the interface.
#pragma once

#include "google/protobuf/repeated_ptr_field.h"
#include "nlohmann/json.hpp"
#include "proto/ebb.pb.h"

namespace ebb::cli {

// {"request_id": "r", "text": "...", "token_ids": [..], "prompt_token_ids": [..],
//  "finish_reason": "stop" | "length", "stop_token_id": 2 or "stop_text": "..." when one ended it,
//  "usage": {"prompt_tokens", "completion_tokens", "cached_tokens", "preemptions"},
//  "timings": {"queue_seconds", "first_token_seconds" (absent without a token), "total_seconds"},
//  "logprobs": [-0.1, ..], "top_logprobs": [[{"token_id", "logprob"}, ..], ..],
//  "prompt_logprobs": [..], "prompt_top_logprobs": [[..], ..]}
//
// `logprobs` has one number for each answered token, `prompt_logprobs` one for each prompt token
// after the first; both only if the request asked for them, and the top_ ones only if it asked for
// alternatives.
nlohmann::ordered_json AnswerJson(const v1::GenerateRequest& request,
                                  const v1::GenerateResponse& response);

nlohmann::ordered_json MemoryJson(const v1::GetMemoryResponse& memory);

// {"outcome": "applied" | "deferred", "limit_bytes", "held_bytes", "deferred_bytes"}
nlohmann::ordered_json LimitJson(const v1::SetMemoryLimitResponse& answer);

// One line; text that is not UTF-8 is mended with U+FFFD.
std::string JsonLine(const nlohmann::ordered_json& object);

}  // namespace ebb::cli
