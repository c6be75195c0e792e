#include "server/generate_call.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/check.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "server/grpc_status.h"

namespace ebb::server {
namespace {

// gRPC's deadline is wall time: only the distance to now is carried over to our clock.
absl::Time DeadlineOf(const grpc::CallbackServerContext& context, const base::Clock& clock) {
  const std::chrono::system_clock::time_point deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return absl::InfiniteFuture();
  return clock.Now() + absl::FromChrono(deadline - std::chrono::system_clock::now());
}

// gRPC cancels a call when its deadline passes; so does the engine, by the same clock or a few
// milliseconds later. Within this time of the deadline it is the deadline that ended the request.
constexpr absl::Duration kDeadlineSlack = absl::Milliseconds(50);

}  // namespace

void GenerateCall::Start(const v1::GenerateRequest& in) {
  self_ = shared_from_this();
  const absl::Status status = Submit(in);
  if (!status.ok()) {
    resources_->refusals->Write(status);
    ticket_.FreeId();
    Fail(ToGrpc(status));
    return;
  }
  Advance();
}

absl::Status GenerateCall::Submit(const v1::GenerateRequest& in) {
  deadline_ = DeadlineOf(*context_, *resources_->clock);
  if (deadline_ <= resources_->clock->Now()) {
    return absl::DeadlineExceededError("the deadline had passed when the request came");
  }
  if (resources_->live_calls->closed()) {
    return absl::UnavailableError("the server is draining; ask another one");
  }
  const uint64_t serial = resources_->next_serial.fetch_add(1);
  const uint64_t random = base::RandomBits(resources_->process_seed, serial);
  ASSIGN_OR_RETURN(ReadRequest read, resources_->reader->Read(in, random));
  if (read.request.label.empty()) {
    read.request.label = absl::StrCat(
        "ebb-", absl::Hex(resources_->process_seed >> 32, absl::kZeroPad8), "-", serial);
  }
  read.request.deadline = deadline_;
  request_id_ = read.request.label;
  ASSIGN_OR_RETURN(ticket_, resources_->live_calls->Enter(request_id_));
  {
    base::MutexLock lock(&mutex_);
    answer_ = std::make_unique<Answer>(read.answer, resources_->codec->NewDecoder());
    prompt_info_.set_request_id(request_id_);
    prompt_info_.set_prompt_tokens(static_cast<int64_t>(read.request.prompt.size()));
    if (read.return_prompt_token_ids) {
      prompt_info_.mutable_prompt_token_ids()->Add(read.request.prompt.begin(),
                                                   read.request.prompt.end());
    }
  }
  ASSIGN_OR_RETURN(const engine::RequestId id,
                   resources_->engine->Submit(std::move(read.request), shared_from_this()));
  bool cancel = false;
  {
    base::MutexLock lock(&mutex_);
    engine_id_ = id;
    accepted_ = true;
    cancel = cancelled_;
  }
  if (cancel) resources_->engine->Cancel(id);
  return absl::OkStatus();
}

void GenerateCall::OnPromptLogprobs(std::vector<engine::PromptLogprob> logprobs) {
  {
    base::MutexLock lock(&mutex_);
    answer_->AddPromptLogprobs(logprobs);
  }
  Wake();
}

engine::SinkAnswer GenerateCall::OnToken(const engine::Token& token) {
  engine::SinkAnswer stop = engine::SinkAnswer::kContinue;
  {
    base::MutexLock lock(&mutex_);
    stop = answer_->AddToken(token);
  }
  Wake();
  return stop;
}

void GenerateCall::OnFinish(const engine::Finish& finish) {
  {
    base::MutexLock lock(&mutex_);
    answer_->End(finish);
  }
  Wake();
}

void GenerateCall::Wake() {
  if (!in_pump_.exchange(true)) resources_->pump->Post(shared_from_this());
}

void GenerateCall::RunFromPump() {
  in_pump_.store(false);  // First: what comes from now on needs another run.
  Advance();
}

void GenerateCall::CancelRequest() {
  // Else it would be counted and logged as if the client had left.
  if (resources_->clock->Now() >= deadline_ - kDeadlineSlack) return;
  engine::RequestId id = 0;
  {
    base::MutexLock lock(&mutex_);
    // A write that fails and gRPC's own notice may both tell of one departure.
    if (std::exchange(cancelled_, true)) return;
    if (!accepted_) return;  // Submit sees the flag.
    id = engine_id_;
  }
  resources_->engine->Cancel(id);
}

void GenerateCall::Release() {
  ticket_ = LiveCalls::Ticket();
  self_.reset();  // May destroy the call.
}

grpc::Status GenerateCall::EndStatus() {
  ticket_.FreeId();
  const absl::Status& status = answer_->status();
  if (status.ok()) return grpc::Status::OK;
  const engine::Finish& finish = answer_->finish();
  context_->AddTrailingMetadata("ebb-prompt-tokens", absl::StrCat(finish.prompt_tokens));
  context_->AddTrailingMetadata("ebb-completion-tokens", absl::StrCat(finish.completion_tokens));
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
