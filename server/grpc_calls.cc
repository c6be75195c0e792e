#include "server/grpc_calls.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/retry_after.h"
#include "server/grpc_deadline.h"

namespace ebb::server {

// gRPC's deadline is wall time: only the distance to now is carried over to our clock.
absl::Time DeadlineOf(const grpc::CallbackServerContext& context, const base::Clock& clock) {
  return clock.Now() + TimeLeft(context);
}

GrpcCall::GrpcCall(CallResources* resources, grpc::CallbackServerContext* context)
    : GenerateCall(resources, DeadlineOf(*context, *resources->clock)), context_(context) {}

grpc::Status GrpcCall::EndStatus() {
  const engine::Finish& finish = TakeFinish();
  if (finish.status.ok()) return grpc::Status::OK;
  context_->AddTrailingMetadata("ebb-prompt-tokens", absl::StrCat(finish.prompt_tokens));
  context_->AddTrailingMetadata("ebb-completion-tokens", absl::StrCat(finish.completion_tokens));
  return ToGrpc(finish.status, request_id());
}

grpc::Status GrpcCall::Refusal(const absl::Status& status) {
  if (const std::optional<int64_t> seconds = base::RetryAfterSeconds(status); seconds.has_value()) {
    context_->AddTrailingMetadata("retry-after", absl::StrCat(*seconds));
  }
  return ToGrpc(status);
}

void WholeCall::Advance() {
  grpc::Status status;
  {
    base::MutexLock lock(&mutex_);
    if (!accepted_ || finished_ || !answers_->ended()) return;
    finished_ = true;
    status = EndStatus();
    if (status.ok()) FillResponse();
  }
  Finish(status);
}

}  // namespace ebb::server
