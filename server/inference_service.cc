#include "server/inference_service.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/grpc_access.h"
#include "server/grpc_status.h"
#include "server/inference_calls.h"

namespace ebb::server {
namespace {

constexpr size_t kLongTextBytes = size_t{64} << 10;
constexpr size_t kLongTextsMax = 16;

}  // namespace

InferenceService::InferenceService(CallResources* resources)
    : resources_(resources), long_texts_(/*threads=*/1, kLongTextsMax) {}

grpc::ServerUnaryReactor* InferenceService::Generate(grpc::CallbackServerContext* context,
                                                     const v1::GenerateRequest* request,
                                                     v1::GenerateResponse* response) {
  const auto call = std::make_shared<UnaryCall>(resources_, context, response);
  call->Start(*request, CallerOf(resources_->access, *context));
  return call.get();  // Keeps itself until OnDone.
}

grpc::ServerWriteReactor<v1::GenerateStreamResponse>* InferenceService::GenerateStream(
    grpc::CallbackServerContext* context, const v1::GenerateRequest* request) {
  const auto call = std::make_shared<StreamCall>(resources_, context);
  call->Start(*request, CallerOf(resources_->access, *context));
  return call.get();  // Keeps itself until OnDone.
}

grpc::ServerUnaryReactor* InferenceService::Tokenize(grpc::CallbackServerContext* context,
                                                     const v1::TokenizeRequest* request,
                                                     v1::TokenizeResponse* response) {
  if (auto* const refusal = RefuseStranger(resources_->access, context)) return refusal;
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  if (request->text().size() < kLongTextBytes) {
    TokenizeNow(*request, response, reactor);
    return reactor;
  }
  const bool queued = long_texts_.TryPost([this, context, request, response, reactor] {
    if (context->IsCancelled()) {
      reactor->Finish(grpc::Status::CANCELLED);
    } else {
      TokenizeNow(*request, response, reactor);
    }
  });
  if (!queued) {
    FinishText(
        absl::ResourceExhaustedError(
            "too many long texts wait to be tokenized; try again later, or send shorter ones"),
        reactor);
  }
  return reactor;
}

void InferenceService::TokenizeNow(const v1::TokenizeRequest& request,
                                   v1::TokenizeResponse* response,
                                   grpc::ServerUnaryReactor* reactor) {
  const absl::StatusOr<std::vector<int32_t>> ids = resources_->reader->ReadTokenize(request);
  if (ids.ok()) response->mutable_token_ids()->Add(ids->begin(), ids->end());
  FinishText(ids.status(), reactor);
}

grpc::ServerUnaryReactor* InferenceService::Detokenize(grpc::CallbackServerContext* context,
                                                       const v1::DetokenizeRequest* request,
                                                       v1::DetokenizeResponse* response) {
  if (auto* const refusal = RefuseStranger(resources_->access, context)) return refusal;
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const absl::StatusOr<std::string> text = resources_->reader->ReadDetokenize(*request);
  if (text.ok()) response->set_text(*text);
  FinishText(text.status(), reactor);
  return reactor;
}

void InferenceService::FinishText(const absl::Status& status, grpc::ServerUnaryReactor* reactor) {
  if (!status.ok()) resources_->refusals->Write(status);
  reactor->Finish(ToGrpc(status));
}

}  // namespace ebb::server
