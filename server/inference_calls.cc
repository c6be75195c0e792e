#include "server/inference_calls.h"

#include <utility>

namespace ebb::server {

void UnaryCall::FillResponse() {
  response_->set_request_id(prompt_info_.request_id());
  response_->mutable_prompt_token_ids()->Swap(prompt_info_.mutable_prompt_token_ids());
  v1::PromptLogprobs prompt_logprobs;
  answers_->TakePromptLogprobs(&prompt_logprobs);
  response_->mutable_prompt_logprobs()->Swap(prompt_logprobs.mutable_logprobs());
  answers_->TakeAll(response_);
}

bool StreamCall::FillNext(v1::GenerateStreamResponse* message) {
  if (!std::exchange(prompt_info_sent_, true)) {
    message->mutable_prompt_info()->Swap(&prompt_info_);
    return true;
  }
  return answers_->TakePromptLogprobs(message->mutable_prompt_logprobs()) ||
         answers_->TakeDelta(message->mutable_delta()) ||
         answers_->TakeAnswerEnd(message->mutable_finished());
}

grpc::Status StreamCall::FillLast(v1::GenerateStreamResponse* message) {
  const grpc::Status status = EndStatus();
  if (status.ok()) *message->mutable_finished() = answers_->Finished();
  return status;
}

}  // namespace ebb::server
