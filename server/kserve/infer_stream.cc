#include "server/kserve/infer_stream.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/client_text.h"
#include "server/grpc_access.h"
#include "server/grpc_calls.h"

namespace ebb::server {
namespace {

namespace wire = ::inference;

constexpr char kFinalResponse[] = "triton_final_response";

}  // namespace

void InferStream::Start() {
  self_ = shared_from_this();
  caller_ = CallerOf(resources_->access, *context_);
  {
    base::MutexLock lock(&mutex_);
    if (caller_.ok()) {
      reading_ = true;
    } else {
      finished_ = true;
    }
  }
  if (!caller_.ok()) return Finish(ToGrpc(caller_.status()));
  StartRead(&request_);
}

void InferStream::OnReadDone(bool ok) {
  if (!ok) {
    {
      base::MutexLock lock(&mutex_);
      reading_ = false;
      no_more_requests_ = true;
    }
    return Advance();
  }
  const auto call = std::make_shared<StreamedInfer>(
      resources_, DeadlineOf(*context_, *resources_->clock), shared_from_this());
  {
    base::MutexLock lock(&mutex_);
    calls_.insert(call);
  }
  call->Start(request_, caller_);
  bool read = false;
  bool cancelled = false;
  {
    base::MutexLock lock(&mutex_);
    read = reading_ = !no_more_requests_ && calls_.size() < kCallsMax;
    cancelled = broken_;  // Perhaps before the call was among those to be cancelled.
  }
  if (cancelled) call->CancelRequest();
  if (read) return StartRead(&request_);
  Advance();
}

void InferStream::Post(std::shared_ptr<StreamedInfer> call) {
  {
    base::MutexLock lock(&mutex_);
    if (finished_) return;  // News of a call that has ended.
    ready_.push_back(std::move(call));
  }
  Advance();
}

std::shared_ptr<StreamedInfer> InferStream::TakeReady(bool* end) {
  base::MutexLock lock(&mutex_);
  if (writing_ || finished_) return nullptr;
  if (ready_.empty()) {
    *end = finished_ = no_more_requests_ && !reading_ && calls_.empty();
    return nullptr;
  }
  writing_ = true;
  std::shared_ptr<StreamedInfer> call = std::move(ready_.front());
  ready_.pop_front();
  return call;
}

void InferStream::Advance() {
  bool end = false;
  while (const std::shared_ptr<StreamedInfer> call = TakeReady(&end)) {
    message_.Clear();
    call->MarkTaken();
    const StreamedInfer::Taken taken = call->Take(&message_);
    bool broken = false;
    {
      base::MutexLock lock(&mutex_);
      broken = broken_;
    }
    if (taken != StreamedInfer::Taken::kNothing && !broken) {
      if (taken == StreamedInfer::Taken::kLastMessage) ending_ = call;
      return StartWrite(&message_);
    }
    if (taken == StreamedInfer::Taken::kLastMessage) EndCall(call);
    base::MutexLock lock(&mutex_);
    writing_ = false;
  }
  if (end) Finish(grpc::Status::OK);
}

void InferStream::EndCall(const std::shared_ptr<StreamedInfer>& call) {
  call->Release();
  bool read = false;
  {
    base::MutexLock lock(&mutex_);
    calls_.erase(call);
    read = !reading_ && !no_more_requests_;
    if (read) reading_ = true;
  }
  if (read) StartRead(&request_);
}

void InferStream::OnWriteDone(bool ok) {
  if (const std::shared_ptr<StreamedInfer> ended = std::exchange(ending_, nullptr)) EndCall(ended);
  {
    base::MutexLock lock(&mutex_);
    writing_ = false;
    if (!ok) broken_ = true;
  }
  if (!ok) CancelAll();
  Advance();
}

void InferStream::OnCancel() {
  {
    base::MutexLock lock(&mutex_);
    broken_ = true;
    no_more_requests_ = true;
  }
  CancelAll();
  Advance();
}

void InferStream::CancelAll() {
  std::vector<std::shared_ptr<StreamedInfer>> calls;
  {
    base::MutexLock lock(&mutex_);
    calls.assign(calls_.begin(), calls_.end());
  }
  for (const std::shared_ptr<StreamedInfer>& call : calls) call->CancelRequest();
}

void StreamedInfer::Start(const wire::ModelInferRequest& in, const absl::StatusOr<Caller>& caller) {
  absl::StatusOr<InferRequest> request = ReadInferRequest(in);
  if (request.ok()) {
    request_ = *std::move(request);
    GenerateCall::Start(request_.generate, caller);
  } else {
    request_.model_name = in.model_name();
    request_.id = in.id();
    Refuse(request.status());
  }
}

void StreamedInfer::Advance() {
  if (!posted_.exchange(true)) {
    stream_->Post(std::static_pointer_cast<StreamedInfer>(shared_from_this()));
  }
}

void StreamedInfer::Fail(const absl::Status& status) {
  {
    base::MutexLock lock(&mutex_);
    failure_ = status;
  }
  Advance();
}

// The protocol has words for an error and no code: they begin with it.
void StreamedInfer::FillError(const absl::Status& status,
                              wire::ModelStreamInferResponse* message) const {
  message->set_error_message(absl::StrCat(absl::StatusCodeToString(status.code()), ": ",
                                          ClientText(status, request_id())));
  message->mutable_infer_response()->set_model_name(request_.model_name);
  message->mutable_infer_response()->set_id(request_.id);
}

bool StreamedInfer::TakeParts() {
  parts_.resize(static_cast<size_t>(std::max<int64_t>(request_.generate.output().n(), 1)));
  for (InferPart& part : parts_) part.delta.Clear();
  bool some = false;
  for (v1::Delta delta; answers_->TakeDelta(&delta); delta.Clear()) {
    parts_.at(static_cast<size_t>(delta.index())).delta.Swap(&delta);
    some = true;
  }
  // Told from here on with every response.
  for (v1::Finished finished; answers_->TakeAnswerEnd(&finished); finished.Clear()) {
    parts_.at(static_cast<size_t>(finished.index())).finish_reason = finished.finish_reason();
    some = true;
  }
  return some;
}

StreamedInfer::Taken StreamedInfer::Take(wire::ModelStreamInferResponse* message) {
  base::MutexLock lock(&mutex_);
  if (done_) return Taken::kNothing;
  if (!failure_.ok()) {
    done_ = true;
    FillError(failure_, message);
    return Taken::kLastMessage;
  }
  if (!accepted_) return Taken::kNothing;
  const bool ended = answers_->ended();
  if (!ended && (!request_.stream || !TakeParts())) return Taken::kNothing;
  wire::ModelInferResponse* const response = message->mutable_infer_response();
  (*response->mutable_parameters())[kFinalResponse].set_bool_param(ended);
  if (!ended) {
    FillInferResponse(request_, prompt_info_, parts_, response);
    return Taken::kMessage;
  }
  done_ = true;
  if (const engine::Finish& finish = TakeFinish(); !finish.status.ok()) {
    FillError(finish.status, message);
    return Taken::kLastMessage;
  }
  if (request_.stream) {
    TakeParts();
    if (parts_.size() == 1) parts_[0].finish_reason = answers_->Finished().finish_reason();
  } else {
    v1::GenerateResponse whole;
    answers_->TakeAll(&whole);
    parts_ = PartsOf(std::move(whole));
  }
  FillInferResponse(request_, prompt_info_, parts_, response);
  return Taken::kLastMessage;
}

}  // namespace ebb::server
