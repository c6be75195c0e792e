#include "server/inference_calls.h"

#include <utility>

namespace ebb::server {

void UnaryCall::FillResponse() {
  v1::Delta delta;
  answer_->TakeDelta(&delta);
  v1::PromptLogprobs prompt_logprobs;
  answer_->TakePromptLogprobs(&prompt_logprobs);
  response_->set_request_id(prompt_info_.request_id());
  response_->set_text(std::move(*delta.mutable_text()));
  response_->mutable_token_ids()->Swap(delta.mutable_token_ids());
  response_->mutable_logprobs()->Swap(delta.mutable_logprobs());
  response_->mutable_prompt_token_ids()->Swap(prompt_info_.mutable_prompt_token_ids());
  response_->mutable_prompt_logprobs()->Swap(prompt_logprobs.mutable_logprobs());
  *response_->mutable_finished() = answer_->Finished();
}

bool StreamCall::FillNext(v1::GenerateStreamResponse* message) {
  if (!std::exchange(prompt_info_sent_, true)) {
    message->mutable_prompt_info()->Swap(&prompt_info_);
    return true;
  }
  return answer_->TakePromptLogprobs(message->mutable_prompt_logprobs()) ||
         answer_->TakeDelta(message->mutable_delta());
}

grpc::Status StreamCall::FillLast(v1::GenerateStreamResponse* message) {
  const grpc::Status status = EndStatus();
  if (status.ok()) *message->mutable_finished() = answer_->Finished();
  return status;
}

}  // namespace ebb::server
