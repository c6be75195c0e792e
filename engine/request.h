// What a client asked of the engine, in tokens, and how the engine answers.
//
// Text exists only above the engine: stop strings, templates and detokenising live in the sink.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "model/sampling_params.h"

namespace ebb::engine {

// Given by the engine at Submit; never used twice in a process.
using RequestId = uint64_t;

using model::SamplingParams;

struct StoppingParams {
  int32_t max_tokens = 0;  // At least 1.
  int32_t min_tokens = 0;  // No end-of-sequence or stop id before this many tokens.
  std::vector<int32_t> stop_token_ids;
  bool ignore_eos = false;
};

// Ids are in [0, vocabulary) and the limits hold: the server has checked both.
struct Request {
  std::vector<int32_t> prompt;
  SamplingParams sampling;
  StoppingParams stopping;
  int32_t priority = 0;  // Lower goes first.
  absl::Time deadline = absl::InfiniteFuture();
  std::string label;     // The client's name for it, for logs only.
  std::string trace_id;  // Of the trace that it belongs to, for logs only; empty: none.
};

struct TokenLogprob {
  int32_t token_id = 0;
  float logprob = 0;
};

// One generated token.
struct Token {
  int32_t id = 0;
  int32_t index = 0;              // From 0.
  float logprob = 0;              // Valid when logprobs were asked for.
  std::vector<TokenLogprob> top;  // Most likely first.
};

// One prompt token after the first.
struct PromptLogprob {
  int32_t token_id = 0;
  float logprob = 0;
  std::vector<TokenLogprob> top;
};

enum class FinishReason {
  kStop,       // End of sequence, a stop id, or the sink said stop.
  kLength,     // max_tokens, or the context is full.
  kCancelled,  // Cancel() was called.
  kDeadline,   // Request::deadline passed.
  kError,      // `status` says what.
};
inline constexpr FinishReason kFinishReasons[] = {FinishReason::kStop, FinishReason::kLength,
                                                  FinishReason::kCancelled, FinishReason::kDeadline,
                                                  FinishReason::kError};
inline const char* FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kDeadline:
      return "deadline";
    case FinishReason::kError:
      return "error";
  }
  return "?";
}

// How a request ended, and what it cost.
struct Finish {
  FinishReason reason = FinishReason::kStop;
  absl::Status status;         // OK for kStop and kLength, else what the client is told.
  int32_t stop_token_id = -1;  // The id that ended it, or -1. It is not counted or emitted.
  int32_t prompt_tokens = 0;
  int32_t completion_tokens = 0;
  int32_t preemptions = 0;
  absl::Duration queue_time;  // Until the first prefill step; until the end if there was none.
  absl::Duration first_token_time;  // From submission; infinite if there was none.
  absl::Duration total_time;
};

enum class SinkAnswer { kContinue, kStop };

// The receiving end of one request, implemented above the engine. Calls come one at a time, from
// the engine's threads, with no lock held: prompt logprobs first, then tokens in order, then
// OnFinish exactly once, and nothing after it. A call must not block.
class RequestSink {
 public:
  virtual ~RequestSink() = default;
  virtual void OnPromptLogprobs(std::vector<PromptLogprob> logprobs) = 0;
  virtual SinkAnswer OnToken(const Token& token) = 0;
  virtual void OnFinish(const Finish& finish) = 0;
};

}  // namespace ebb::engine
