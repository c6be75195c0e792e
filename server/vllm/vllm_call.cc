#include "server/vllm/vllm_call.h"

#include <algorithm>
#include <utility>

#include "absl/status/statusor.h"
#include "base/check.h"
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
  n_ = std::max<int64_t>(in.sampling_params().n(), 1);
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
  parts_[delta->index()].completion_tokens += static_cast<uint32_t>(delta->token_ids_size());
  return some;
}

bool VllmCall::IsAborted() const {
  return answers_->ended() && answers_->finish().reason == engine::FinishReason::kCancelled;
}

bool VllmCall::TakeEnd(v1::Finished* finished) {
  if (answers_->TakeAnswerEnd(finished)) return true;
  if (!IsAborted()) return false;
  int64_t index = 0;
  while (parts_[index].ended) ++index;
  finished->set_index(index);
  return true;
}

void VllmCall::FillChunk(const v1::Delta& delta, wire::GenerateStreamChunk* chunk) {
  chunk->mutable_token_ids()->Add(delta.token_ids().begin(), delta.token_ids().end());
  if (!delta.logprobs().empty()) FillLogprobs(delta, chunk->mutable_output_logprobs());
  wire::InputLogProbs input;
  if (TakeInputLogProbs(&input)) chunk->mutable_input_logprobs()->Swap(&input);
  chunk->set_prompt_tokens(static_cast<uint32_t>(prompt_info_.prompt_tokens()));
  chunk->set_completion_tokens(parts_[delta.index()].completion_tokens);
  chunk->set_index(static_cast<uint32_t>(delta.index()));
}

bool VllmCall::FillNext(wire::GenerateResponse* message) {
  if (!stream_ && !answers_->ended()) return false;
  for (v1::Delta delta; TakeDelta(&delta); delta.Clear()) {
    if (stream_) {
      FillChunk(delta, message->mutable_chunk());
      return true;
    }
    parts_[delta.index()].rest.Swap(&delta);
  }
  v1::Finished finished;
  if (ends_ + 1 >= n_ || !TakeEnd(&finished)) return false;
  FillComplete(finished, message->mutable_complete());
  return true;
}

void VllmCall::FillComplete(const v1::Finished& finished, wire::GenerateComplete* complete) {
  Part& part = parts_[finished.index()];
  part.ended = true;
  ++ends_;
  const v1::Delta& rest = part.rest;
  complete->mutable_output_ids()->Add(rest.token_ids().begin(), rest.token_ids().end());
  if (!rest.logprobs().empty()) FillLogprobs(rest, complete->mutable_output_logprobs());
  wire::InputLogProbs input;
  if (TakeInputLogProbs(&input)) complete->mutable_input_logprobs()->Swap(&input);
  complete->set_prompt_tokens(static_cast<uint32_t>(prompt_info_.prompt_tokens()));
  complete->set_completion_tokens(part.completion_tokens);
  complete->set_cached_tokens(static_cast<uint32_t>(finished.usage().cached_tokens()));
  complete->set_index(static_cast<uint32_t>(finished.index()));
  if (!finished.has_finish_reason()) return complete->set_finish_reason("abort");
  complete->set_finish_reason(finished.finish_reason() == v1::FINISH_REASON_LENGTH ? "length"
                                                                                   : "stop");
  if (finished.has_stop_text()) complete->set_matched_stop_str(finished.stop_text());
  const auto stop_id = static_cast<uint32_t>(finished.stop_token_id());
  if (finished.has_stop_token_id() &&
      std::count(stop_token_ids_.begin(), stop_token_ids_.end(), stop_id) > 0) {
    complete->set_matched_token_id(stop_id);
  }
}

grpc::Status VllmCall::FillLast(wire::GenerateResponse* message) {
  if (IsAborted()) {
    // Whoever ends a request by its id learns what it had answered until then.
    TakeFinish();
  } else if (const grpc::Status status = EndStatus(); !status.ok()) {
    return status;
  }
  v1::Finished finished;
  if (n_ > 1) {
    CHECK(TakeEnd(&finished));
  } else if (!IsAborted()) {
    finished = answers_->Finished();
  }
  FillComplete(finished, message->mutable_complete());
  return grpc::Status::OK;
}

}  // namespace ebb::server
