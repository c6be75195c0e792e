#include "server/kserve/infer_call.h"

#include <utility>

#include "server/field_checks.h"
#include "server/kserve/infer_response.h"

namespace ebb::server {

void InferCall::Start(const ::inference::ModelInferRequest& in,
                      const absl::StatusOr<Caller>& caller) {
  if (!caller.ok()) return Refuse(caller.status());
  absl::StatusOr<InferRequest> request = ReadInferRequest(in);
  if (!request.ok()) return Refuse(request.status());
  if (request->stream) {
    return Refuse(FieldError("stream", "ModelInfer has one response; call ModelStreamInfer"));
  }
  request_ = *std::move(request);
  GenerateCall::Start(request_.generate, caller);
}

void InferCall::FillResponse() {
  v1::GenerateResponse whole;
  answers_->TakeAll(&whole);
  FillInferResponse(request_, prompt_info_, PartsOf(std::move(whole)), response_);
}

}  // namespace ebb::server
