#include "server/vllm/vllm_call.h"

#include <algorithm>
#include <utility>

#include "absl/status/statusor.h"
#include "proto/ebb.pb.h"
#include "server/vllm/vllm_request.h"

namespace ebb::server {
namespace {

namespace wire = ::vllm::grpc::engine;

void AddTop(const v1::TokenLogprobs& from, wire::TopLogProbs* to) {
  for (const v1::TokenLogprobs::Alternative& alternative : from.top()) {
    to->add_values(alternative.logprob());
    to->add_token_ids(static_cast<uint32_t>(alternative.token_id()));
  }
}

void FillLogprobs(const v1::Delta& delta, wire::OutputLogProbs* out) {
  for (const v1::TokenLogprobs& token : delta.logprobs()) {
    out->add_token_logprobs(token.logprob());
    out->add_token_ids(static_cast<uint32_t>(token.token_id()));
    AddTop(token, out->add_top_logprobs());
  }
}

}  // namespace

void VllmCall::Start(const wire::GenerateRequest& in, const absl::StatusOr<Caller>& caller) {
  stream_ = in.stream();
  stop_token_due_ = in.sampling_params().include_stop_str_in_output();
  stop_token_ids_.assign(in.sampling_params().stop_token_ids().begin(),
                         in.sampling_params().stop_token_ids().end());
  const absl::StatusOr<v1::GenerateRequest> request = ToGenerateRequest(in);
  if (!caller.ok()) {
    Refuse(caller.status());
  } else if (request.ok()) {
    GenerateCall::Start(*request, caller);
  } else {
    Refuse(request.status());
  }
}

bool VllmCall::TakeInputLogProbs(wire::InputLogProbs* out) {
  v1::PromptLogprobs prompt;
  if (!answers_->TakePromptLogprobs(&prompt)) return false;
  // The first token follows nothing and so has no probability.
  out->add_token_ids(static_cast<uint32_t>(prompt_info_.prompt_token_ids(0)));
  out->add_token_logprobs();
  out->add_top_logprobs();
  for (const v1::TokenLogprobs& token : prompt.logprobs()) {
    out->add_token_ids(static_cast<uint32_t>(token.token_id()));
    out->add_token_logprobs()->set_value(token.logprob());
    AddTop(token, out->add_top_logprobs());
  }
  return true;
}

bool VllmCall::TakeDelta(v1::Delta* delta) {
  bool some = answers_->TakeDelta(delta);
  if (stop_token_due_ && answers_->ended() && answers_->finish().stop_token_id >= 0) {
    stop_token_due_ = false;
    delta->add_token_ids(answers_->finish().stop_token_id);
    some = true;
  }
  completion_tokens_ += static_cast<uint32_t>(delta->token_ids_size());
  return some;
}

bool VllmCall::FillNext(wire::GenerateResponse* message) {
  v1::Delta delta;
  if (!stream_ || !TakeDelta(&delta)) return false;
  wire::GenerateStreamChunk* const chunk = message->mutable_chunk();
  chunk->mutable_token_ids()->Add(delta.token_ids().begin(), delta.token_ids().end());
  if (!delta.logprobs().empty()) FillLogprobs(delta, chunk->mutable_output_logprobs());
  wire::InputLogProbs input;
  if (TakeInputLogProbs(&input)) chunk->mutable_input_logprobs()->Swap(&input);
  chunk->set_prompt_tokens(static_cast<uint32_t>(prompt_info_.prompt_tokens()));
  chunk->set_completion_tokens(completion_tokens_);
  return true;
}

void VllmCall::FillComplete(const engine::Finish& finish, wire::GenerateComplete* complete) {
  v1::Delta delta;
  TakeDelta(&delta);  // Nothing, if it was streamed.
  complete->mutable_output_ids()->Add(delta.token_ids().begin(), delta.token_ids().end());
  if (!delta.logprobs().empty()) FillLogprobs(delta, complete->mutable_output_logprobs());
  wire::InputLogProbs input;
  if (TakeInputLogProbs(&input)) complete->mutable_input_logprobs()->Swap(&input);
  complete->set_prompt_tokens(static_cast<uint32_t>(finish.prompt_tokens));
  complete->set_completion_tokens(completion_tokens_);
}

grpc::Status VllmCall::FillLast(wire::GenerateResponse* message) {
  const engine::Finish& finish = answers_->finish();
  wire::GenerateComplete* const complete = message->mutable_complete();
  if (finish.reason == engine::FinishReason::kCancelled) {
    // Whoever ends a request by its id learns what it had answered until then.
    TakeFinish();
    FillComplete(finish, complete);
    complete->set_finish_reason("abort");
    return grpc::Status::OK;
  }
  if (const grpc::Status status = EndStatus(); !status.ok()) return status;
  FillComplete(finish, complete);
  const v1::Finished finished = answers_->Finished();
  complete->set_finish_reason(finished.finish_reason() == v1::FINISH_REASON_LENGTH ? "length"
                                                                                   : "stop");
  if (finished.has_stop_text()) complete->set_matched_stop_str(finished.stop_text());
  const auto stop_id = static_cast<uint32_t>(finished.stop_token_id());
  if (finished.has_stop_token_id() &&
      std::count(stop_token_ids_.begin(), stop_token_ids_.end(), stop_id) > 0) {
    complete->set_matched_token_id(stop_id);
  }
  return grpc::Status::OK;
}

}  // namespace ebb::server
