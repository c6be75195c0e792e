#include "server/grpc_calls.h"

#include <chrono>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace ebb::server {

// gRPC's deadline is wall time: only the distance to now is carried over to our clock.
absl::Time DeadlineOf(const grpc::CallbackServerContext& context, const base::Clock& clock) {
  const std::chrono::system_clock::time_point deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return absl::InfiniteFuture();
  return clock.Now() + absl::FromChrono(deadline - std::chrono::system_clock::now());
}

void GrpcCall::Start(const v1::GenerateRequest& in) {
  GenerateCall::Start(in, DeadlineOf(*context_, clock()));
}

grpc::Status GrpcCall::EndStatus() {
  const engine::Finish& finish = TakeFinish();
  if (finish.status.ok()) return grpc::Status::OK;
  context_->AddTrailingMetadata("ebb-prompt-tokens", absl::StrCat(finish.prompt_tokens));
  context_->AddTrailingMetadata("ebb-completion-tokens", absl::StrCat(finish.completion_tokens));
  return ToGrpc(finish.status);
}

void WholeCall::Advance() {
  grpc::Status status;
  {
    base::MutexLock lock(&mutex_);
    if (!accepted_ || finished_ || !answer_->ended()) return;
    finished_ = true;
    status = EndStatus();
    if (status.ok()) FillResponse();
  }
  Finish(status);
}

}  // namespace ebb::server
