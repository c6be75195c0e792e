// Answer: what one answer of a request has come to so far, in the wire's messages: tokens become
// text, text is searched for stop strings, and all waits here until it is taken.
//
//   engine tokens ──> TextDecoder ──> StopMatcher ──> pending Delta ──> TakeDelta
//                     (half characters) (half stops)
//
// What is pending is bounded by the request's max_tokens, so a reader may be as slow as it likes:
// the engine's memory does not wait for it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/request.h"
#include "proto/ebb.pb.h"
#include "server/stop_matcher.h"
#include "server/text_codec.h"

namespace ebb::server {

struct AnswerOptions {
  bool return_text = true;
  bool return_token_ids = false;
  bool return_logprobs = false;
  int32_t min_tokens = 0;
  std::vector<std::string> stop;
  std::string echo;  // Goes before the answer's text, and is not searched for stop strings.
};

// Thread-compatible.
class Answer {
 public:
  Answer(const AnswerOptions& options, std::unique_ptr<TextDecoder> decoder);

  void AddPromptLogprobs(const std::vector<engine::PromptLogprob>& logprobs);
  // kStop when the token completes a stop string. REQUIRES: neither stopped nor ended.
  engine::SinkAnswer AddToken(const engine::Token& token);
  // REQUIRES: not ended.
  void End(const engine::Finish& finish);

  // Each moves out what is pending. False, and nothing moved, when nothing is.
  bool TakePromptLogprobs(v1::PromptLogprobs* logprobs);
  bool TakeDelta(v1::Delta* delta);

  bool has_pending() const { return has_pending_; }
  // Of its tokens, in the mean; below all numbers when it has none. Valid when the engine was asked
  // for log-probabilities.
  double mean_logprob() const;

  bool ended() const { return ended_; }
  // REQUIRES: ended(). OK when the answer is whole.
  const absl::Status& status() const { return finish_.status; }
  const engine::Finish& finish() const { return finish_; }
  // REQUIRES: ended() and status().ok().
  v1::Finished Finished() const;

 private:
  void AddText(const std::string& text);
  // Before the first text: behind the prompt's log-probabilities, which the engine gives first.
  void AddEcho();

  const AnswerOptions options_;
  const std::unique_ptr<TextDecoder> decoder_;
  StopMatcher matcher_;
  int32_t token_count_ = 0;
  double logprob_sum_ = 0;
  v1::PromptLogprobs prompt_logprobs_;
  bool has_prompt_logprobs_ = false;
  v1::Delta pending_;
  bool has_pending_ = false;
  bool echoed_ = false;
  engine::Finish finish_;
  bool ended_ = false;
};

// Usage and timings.
void FillCost(const engine::Finish& finish, v1::Finished* out);

}  // namespace ebb::server
