// What a client asked of the engine, in tokens, and how the engine answers.
//
// Text exists only above the engine: stop strings, templates and detokenising live in the sink.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/rng.h"
#include "model/sampling_params.h"

namespace ebb::engine {

// Given by the engine at Submit; never used twice in a process.
using RequestId = uint64_t;

using model::LogitBias;
using model::SamplingParams;

struct StoppingParams {
  int32_t max_tokens = 0;  // At least 1.
  int32_t min_tokens = 0;  // No end-of-sequence or stop id before this many tokens.
  std::vector<int32_t> stop_token_ids;
  bool ignore_eos = false;
};

// What the answer may not say, and what is made more or less likely, by token.
struct TokenRules {
  std::vector<LogitBias> logit_bias;  // Each id at most once.
  // Words as tokens, none empty. The last token of one is never chosen where the answer ends with
  // those before it.
  std::vector<std::vector<int32_t>> bad_words;
};

// Ids are in [0, vocabulary) and the limits hold: the server has checked both.
struct Request {
  std::vector<int32_t> prompt;
  SamplingParams sampling;
  StoppingParams stopping;
  // How many answers; at least 1. Their prompt is prefilled once. Each has the tokens that a
  // request of its own would get with the seed of SeedOfAnswer.
  int32_t n = 1;
  TokenRules rules;
  int32_t priority = 0;  // Lower goes first.
  absl::Time deadline = absl::InfiniteFuture();
  std::string label;     // The client's name for it, for logs only.
  std::string trace_id;  // Of the trace that it belongs to, for logs only; empty: none.
  // Whose it is: tenants share the engine fairly, and no cached prefixes. Empty: nobody's in
  // particular.
  std::string tenant;
  std::string cache_salt;  // Shares cached prefixes only with requests that have the same.
};

inline constexpr int32_t kAnswersMax = 16;

// The seed of a request's answer: the request's own for the first.
inline uint64_t SeedOfAnswer(uint64_t seed, int32_t answer) {
  constexpr uint64_t kAnswers = 0x616e'7377'6572'7321ull;  // Another stream than the tokens'.
  return answer == 0 ? seed : base::RandomBits(seed ^ kAnswers, static_cast<uint64_t>(answer));
}

struct TokenLogprob {
  int32_t token_id = 0;
  float logprob = 0;
};

// One generated token.
struct Token {
  int32_t id = 0;
  int32_t index = 0;              // In its answer, from 0.
  float logprob = 0;              // Valid when logprobs were asked for.
  std::vector<TokenLogprob> top;  // Most likely first.
  int32_t answer = 0;             // Which of the request's answers: below Request::n.
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

// How an answer ended, or a request with all its answers, and what it cost.
struct Finish {
  FinishReason reason = FinishReason::kStop;
  absl::Status status;         // OK for kStop and kLength, else why; server/client_text.h has what
                               // clients are told.
  int32_t stop_token_id = -1;  // The id that ended it, or -1. It is not counted or emitted.
  int32_t prompt_tokens = 0;
  int32_t cached_tokens = 0;  // Of the prompt's, found in the prefix cache.
  int32_t completion_tokens = 0;
  int32_t preemptions = 0;
  absl::Duration queue_time;  // Until the first prefill step; until the end if there was none.
  absl::Duration first_token_time;  // From submission; infinite if there was none.
  absl::Duration total_time;
};

enum class SinkAnswer { kContinue, kStop };

// The receiving end of one request, implemented above the engine. Calls come one at a time, from
// the engine's threads, with none of the engine's locks held: prompt logprobs first, then tokens,
// in order within each answer, and after its last token an answer's end; then OnFinish exactly
// once, and nothing after it. A call must not block.
class RequestSink {
 public:
  virtual ~RequestSink() = default;
  virtual void OnPromptLogprobs(std::vector<PromptLogprob> logprobs) = 0;
  // kStop ends the token's answer; the others go on.
  virtual SinkAnswer OnToken(const Token& token) = 0;
  // Exactly once for each answer. When one fails, all end with its status.
  virtual void OnAnswerFinish(int32_t /*answer*/, const Finish& /*finish*/) {}
  // The request's end: the counts of all answers together; for one answer the same as its end.
  virtual void OnFinish(const Finish& finish) = 0;
};

}  // namespace ebb::engine
