// Answers: all answers of one request, and which of them are returned.
//
//   token of answer i ──> Answer i ──┬─> streamed: Delta with its index, Finished with its index
//                                    └─> unary: Choice i, or the fields of the response
//
// The index is left out where a request returns one answer.
#pragma once

#include <memory>
#include <vector>

#include "engine/request.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "proto/ebb.pb.h"
#include "server/answer.h"
#include "server/text_codec.h"

namespace ebb::server {

// Thread-compatible.
class Answers {
 public:
  // `made` answers, of which the `returned` with the highest log-probability are told. REQUIRES:
  // 1 <= returned <= made.
  Answers(const AnswerOptions& options, int32_t made, int32_t returned, bool show_special,
          const TextCodec& codec);

  void AddPromptLogprobs(const std::vector<engine::PromptLogprob>& logprobs);
  engine::SinkAnswer AddToken(const engine::Token& token);
  void EndAnswer(int32_t answer, const engine::Finish& finish);
  // REQUIRES: every answer has ended.
  void End(const engine::Finish& finish);

  // ---- taking what is pending; false, and nothing moved, when nothing is

  bool TakePromptLogprobs(v1::PromptLogprobs* logprobs);
  // Of any answer. While tokens still come, REQUIRES: all that are made are returned.
  bool TakeDelta(v1::Delta* delta);
  // The end of an answer whose deltas have been taken: where several are returned.
  bool TakeAnswerEnd(v1::Finished* finished);

  // ---- once ended

  bool ended() const { return ended_; }
  const engine::Finish& finish() const { return finish_; }
  // REQUIRES: ended() and finish().status.ok(), as below. What the request came to.
  v1::Finished Finished() const;
  // Moves the answers into the response: the best first, or in their order when all are returned.
  void TakeAll(v1::GenerateResponse* response);

 private:
  std::vector<size_t> Ranked() const;

  const bool indexed_;  // Several are returned.
  const size_t returned_;
  std::vector<std::unique_ptr<Answer>> answers_;
  std::vector<bool> end_taken_;
  engine::Finish finish_;
  bool ended_ = false;
};

}  // namespace ebb::server
