#include "server/grpc_calls.h"

#include <chrono>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/retry_after.h"

namespace ebb::server {
namespace {

// gRPC's deadline is wall time: only the distance to now is carried over to our clock.
absl::Time DeadlineOf(const grpc::CallbackServerContext& context, const base::Clock& clock) {
  const std::chrono::system_clock::time_point deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return absl::InfiniteFuture();
  return clock.Now() + absl::FromChrono(deadline - std::chrono::system_clock::now());
}

}  // namespace

GrpcCall::GrpcCall(CallResources* resources, grpc::CallbackServerContext* context)
    : GenerateCall(resources, DeadlineOf(*context, *resources->clock)), context_(context) {}

grpc::Status GrpcCall::EndStatus() {
  const engine::Finish& finish = TakeFinish();
  if (finish.status.ok()) return grpc::Status::OK;
  context_->AddTrailingMetadata("ebb-prompt-tokens", absl::StrCat(finish.prompt_tokens));
  context_->AddTrailingMetadata("ebb-completion-tokens", absl::StrCat(finish.completion_tokens));
  return ToGrpc(finish.status);
}

grpc::Status GrpcCall::Refusal(const absl::Status& status) {
  if (const std::optional<int64_t> seconds = base::RetryAfterSeconds(status); seconds.has_value()) {
    context_->AddTrailingMetadata("retry-after", absl::StrCat(*seconds));
  }
  return ToGrpc(status);
}

void UnaryCall::Advance() {
  grpc::Status status;
  {
    base::MutexLock lock(&mutex_);
    if (!accepted_ || finished_ || !answer_->ended()) return;
    finished_ = true;
    status = EndStatus();
    if (status.ok()) {
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
  }
  Finish(status);
}

StreamCall::Next StreamCall::PickNext(grpc::Status* status) {
  if (!accepted_ || writing_ || finished_) return Next::kNothing;
  if (!broken_) {
    message_.Clear();
    writing_ = true;  // Undone below when there is nothing to write.
    if (!prompt_info_sent_) {
      prompt_info_sent_ = true;
      message_.mutable_prompt_info()->Swap(&prompt_info_);
      return Next::kWrite;
    }
    if (answer_->TakePromptLogprobs(message_.mutable_prompt_logprobs())) return Next::kWrite;
    if (answer_->TakeDelta(message_.mutable_delta())) return Next::kWrite;
    writing_ = false;
  }
  if (!answer_->ended()) return Next::kNothing;
  finished_ = true;
  *status = EndStatus();
  if (broken_ || !status->ok()) return Next::kFinish;
  *message_.mutable_finished() = answer_->Finished();
  return Next::kWriteAndFinish;
}

void StreamCall::Advance() {
  grpc::Status status;
  Next next = Next::kNothing;
  {
    base::MutexLock lock(&mutex_);
    next = PickNext(&status);
  }
  // Outside the mutex. What was picked excludes every other action until gRPC has called back.
  switch (next) {
    case Next::kNothing:
      return;
    case Next::kWrite:
      return StartWrite(&message_);
    case Next::kWriteAndFinish:
      return StartWriteAndFinish(&message_, grpc::WriteOptions(), std::move(status));
    case Next::kFinish:
      return Finish(std::move(status));
  }
}

void StreamCall::OnWriteDone(bool ok) {
  {
    base::MutexLock lock(&mutex_);
    writing_ = false;
    if (!ok) broken_ = true;
  }
  if (!ok) CancelRequest();
  Advance();
}

}  // namespace ebb::server
