#include "server/generate_call.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/check.h"
#include "base/rng.h"
#include "base/status_macros.h"

namespace ebb::server {
namespace {

// A transport cancels a call when its deadline passes; so does the engine, by the same clock or a
// few milliseconds later. Within this time of the deadline it is the deadline that ended the
// request.
constexpr absl::Duration kDeadlineSlack = absl::Milliseconds(50);

}  // namespace

void GenerateCall::Start(const v1::GenerateRequest& in, const absl::StatusOr<Caller>& caller) {
  self_ = shared_from_this();
  const absl::Status status = Submit(in, caller);
  if (status.ok()) return Advance();
  // The id is in the log where it can be: it was checked before anything of ours could fail.
  resources_->refusals->Write(status, request_id_.empty() ? in.request_id() : request_id_);
  quota_.Undo();
  ticket_.FreeId();
  Fail(status);
}

void GenerateCall::Refuse(const absl::Status& status) {
  CHECK(!status.ok());
  self_ = shared_from_this();
  resources_->refusals->Write(status);
  Fail(status);
}

absl::Status GenerateCall::Submit(const v1::GenerateRequest& in,
                                  const absl::StatusOr<Caller>& caller) {
  RETURN_IF_ERROR(caller.status());
  const absl::Time received = resources_->clock->Now();
  if (deadline_ <= received) {
    return absl::DeadlineExceededError("the deadline had passed when the request came");
  }
  if (resources_->live_calls->closed()) {
    return absl::UnavailableError("the server is draining; ask another one");
  }
  // Before the text is looked at: whoever asks too often shall cost nothing.
  if (resources_->quotas != nullptr) {
    ASSIGN_OR_RETURN(quota_, resources_->quotas->Enter(caller->tenant));
  }
  const uint64_t serial = resources_->next_serial.fetch_add(1);
  const uint64_t random = base::RandomBits(resources_->process_seed, serial);
  ASSIGN_OR_RETURN(ReadRequest read, resources_->reader->Read(in, random));
  if (streams() && read.request.n > read.returned_answers) {
    return absl::InvalidArgumentError(
        "output.best_of: must be output.n in a stream, for the best are known at the end");
  }
  if (read.request.label.empty()) {
    read.request.label = absl::StrCat(
        "ebb-", absl::Hex(resources_->process_seed >> 32, absl::kZeroPad8), "-", serial);
  }
  read.request.tenant = caller->tenant;
  read.request.trace_id = caller->trace_id;
  read.request.deadline = deadline_;
  request_id_ = read.request.label;
  const auto cancel = [call = weak_from_this()] {
    if (const std::shared_ptr<GenerateCall> alive = call.lock()) alive->CancelRequest();
  };
  ASSIGN_OR_RETURN(ticket_, resources_->live_calls->Enter(caller->tenant, request_id_, cancel));
  {
    base::MutexLock lock(&mutex_);
    answers_ = std::make_unique<Answers>(read.answer, read.request.n, read.returned_answers,
                                         read.show_special, *resources_->codec);
    prompt_info_.set_request_id(request_id_);
    prompt_info_.set_prompt_tokens(static_cast<int64_t>(read.request.prompt.size()));
    if (read.return_prompt_token_ids) {
      prompt_info_.mutable_prompt_token_ids()->Add(read.request.prompt.begin(),
                                                   read.request.prompt.end());
    }
  }
  times_.emplace(received, read.request.n);
  const auto prompt_tokens = static_cast<int64_t>(read.request.prompt.size());
  quota_.Charge(prompt_tokens);
  ASSIGN_OR_RETURN(const engine::RequestId id,
                   resources_->engine->Submit(std::move(read.request), shared_from_this()));
  resources_->metrics->OnAccepted(prompt_tokens);
  bool left = false;
  {
    base::MutexLock lock(&mutex_);
    engine_id_ = id;
    accepted_ = true;
    left = cancelled_;
  }
  if (left) resources_->engine->Cancel(id);
  return absl::OkStatus();
}

void GenerateCall::OnPromptLogprobs(std::vector<engine::PromptLogprob> logprobs) {
  {
    base::MutexLock lock(&mutex_);
    answers_->AddPromptLogprobs(logprobs);
  }
  Wake();
}

engine::SinkAnswer GenerateCall::OnToken(const engine::Token& token) {
  resources_->metrics->OnToken(&*times_, token.answer, resources_->clock->Now());
  quota_.Charge(1);
  engine::SinkAnswer stop = engine::SinkAnswer::kContinue;
  {
    base::MutexLock lock(&mutex_);
    stop = answers_->AddToken(token);
  }
  Wake();
  return stop;
}

void GenerateCall::OnAnswerFinish(int32_t answer, const engine::Finish& finish) {
  resources_->metrics->OnAnswerFinish(finish);
  {
    base::MutexLock lock(&mutex_);
    answers_->EndAnswer(answer, finish);
  }
  Wake();
}

void GenerateCall::OnFinish(const engine::Finish& finish) {
  resources_->metrics->OnFinish(*times_, finish, resources_->clock->Now());
  {
    base::MutexLock lock(&mutex_);
    answers_->End(finish);
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
    // A write that fails and the transport's own notice may both tell of one departure.
    if (std::exchange(cancelled_, true)) return;
    if (!accepted_) return;  // Submit sees the flag.
    id = engine_id_;
  }
  resources_->engine->Cancel(id);
}

void GenerateCall::Release() {
  quota_.Leave();
  ticket_ = LiveCalls::Ticket();
  self_.reset();  // May destroy the call.
}

const engine::Finish& GenerateCall::TakeFinish() {
  CHECK(answers_->ended());
  quota_.Leave();
  ticket_.FreeId();
  return answers_->finish();
}

}  // namespace ebb::server
