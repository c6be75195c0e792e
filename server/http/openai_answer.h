// OpenAiAnswer: the answer to one OpenAI request: its calls, one for each prompt, and what of them
// the client is sent.
//
//   worker     Start: the calls one after the other
//   exchange   a call's news, OnSent ──> Advance: whole when all have ended, or event by event
//   exchange   OnEnd: the client has it all, or left
//
// Between two writes everything waits in the calls' Answers.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "server/generate_call.h"
#include "server/http/answer_json.h"
#include "server/http/exchange.h"
#include "server/http/http_call.h"
#include "server/http/openai_request.h"

namespace ebb::server {

class OpenAiAnswer final : public Responder, public std::enable_shared_from_this<OpenAiAnswer> {
 public:
  // `request_id`: of the client's, or one made for it; several prompts get "-0", "-1" behind it.
  OpenAiAnswer(CallResources* resources, std::shared_ptr<Exchange> exchange, OpenAiRequest request,
               const AnswerHead& head, const std::string& request_id, const Caller& caller);

  // Any thread but the exchange's, once. May take as long as tokenizing does.
  void Start();

  void OnSent() override;
  void OnEnd(bool sent) override;

 private:
  void MakeCalls();
  // The rest is on the exchange's thread.
  void Advance();
  void AdvanceWhole();
  void TakeChoices(size_t call, v1::GenerateResponse response);
  size_t n() const { return static_cast<size_t>(request_.style.n); }
  void AdvanceEvents();
  void Fail(const absl::Status& status);
  void AbandonCalls();

  CallResources* const resources_;
  const std::shared_ptr<Exchange> exchange_;
  OpenAiRequest request_;
  const std::string request_id_;
  const Caller caller_;
  AnswerJson json_;
  std::vector<std::shared_ptr<HttpCall>> calls_;  // Fixed before any is started.
  std::vector<CallNews> whole_;                   // By choice, of the calls that have ended.
  v1::Usage usage_;                               // Of those calls.
  std::vector<bool> ended_;                       // By choice.
  size_t ended_count_ = 0;
  bool begun_ = false;              // Events have been sent.
  bool sending_ = false;            // Events are on their way.
  std::atomic<bool> over_ = false;  // All that will be sent has been handed over.
  bool abandoned_ = false;
};

}  // namespace ebb::server
