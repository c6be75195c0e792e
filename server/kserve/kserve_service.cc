#include "server/kserve/kserve_service.h"

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/grpc_access.h"
#include "server/grpc_status.h"
#include "server/kserve/infer_call.h"
#include "server/kserve/infer_request.h"
#include "server/kserve/infer_stream.h"

namespace ebb::server {
namespace {

namespace wire = ::inference;

constexpr absl::string_view kProductName = "ebb";

struct Tensor {
  const char* name;
  const char* datatype;
  int64_t elements = 1;  // -1: one for each of the request's answers.
};

// Only the first input is required; the outputs after the first come when they are asked for.
constexpr Tensor kInputs[] = {{"text_input", "BYTES"},
                              {"stream", "BOOL"},
                              {"sampling_parameters", "BYTES"},
                              {"exclude_input_in_output", "BOOL"},
                              {"return_finish_reason", "BOOL"},
                              {"return_num_input_tokens", "BOOL"},
                              {"return_num_output_tokens", "BOOL"}};
constexpr Tensor kOutputs[] = {{"text_output", "BYTES", -1},
                               {"finish_reason", "BYTES", -1},
                               {"num_input_tokens", "UINT32"},
                               {"num_output_tokens", "UINT32", -1}};

void Fill(const Tensor& tensor, wire::ModelMetadataResponse::TensorMetadata* out) {
  out->set_name(tensor.name);
  out->set_datatype(tensor.datatype);
  out->add_shape(tensor.elements);
}

}  // namespace

KserveService::KserveService(KserveOptions options, CallResources* resources)
    : options_(std::move(options)), resources_(resources) {}

bool KserveService::IsReady() const { return resources_->progress->Check().ready(); }

absl::Status KserveService::CheckModel(const std::string& name, const std::string& version) const {
  if (!name.empty() && name != options_.model_name) {
    return absl::NotFoundError(
        absl::StrCat("model: this server serves \"", options_.model_name, "\""));
  }
  return CheckModelVersion(version);
}

grpc::ServerUnaryReactor* KserveService::ServerLive(grpc::CallbackServerContext* context,
                                                    const wire::ServerLiveRequest*,
                                                    wire::ServerLiveResponse* response) {
  // Whoever restarts servers that hang has no token.
  response->set_live(true);
  return FinishNow(context);
}

grpc::ServerUnaryReactor* KserveService::ServerReady(grpc::CallbackServerContext* context,
                                                     const wire::ServerReadyRequest*,
                                                     wire::ServerReadyResponse* response) {
  if (auto* const refusal = RefuseStranger(resources_->access, context)) return refusal;
  response->set_ready(IsReady());
  return FinishNow(context);
}

grpc::ServerUnaryReactor* KserveService::ModelReady(grpc::CallbackServerContext* context,
                                                    const wire::ModelReadyRequest* request,
                                                    wire::ModelReadyResponse* response) {
  if (auto* const refusal = RefuseStranger(resources_->access, context)) return refusal;
  const absl::Status known = CheckModel(request->name(), request->version());
  response->set_ready(known.ok() && IsReady());
  return FinishNow(context, known);
}

grpc::ServerUnaryReactor* KserveService::ServerMetadata(grpc::CallbackServerContext* context,
                                                        const wire::ServerMetadataRequest*,
                                                        wire::ServerMetadataResponse* response) {
  if (auto* const refusal = RefuseStranger(resources_->access, context)) return refusal;
  response->set_name(std::string(kProductName));
  response->set_version(options_.version);
  return FinishNow(context);
}

grpc::ServerUnaryReactor* KserveService::ModelMetadata(grpc::CallbackServerContext* context,
                                                       const wire::ModelMetadataRequest* request,
                                                       wire::ModelMetadataResponse* response) {
  if (auto* const refusal = RefuseStranger(resources_->access, context)) return refusal;
  const absl::Status known = CheckModel(request->name(), request->version());
  if (!known.ok()) return FinishNow(context, known);
  response->set_name(options_.model_name);
  response->add_versions(std::string(kModelVersion));
  response->set_platform(std::string(kProductName));
  for (const Tensor& tensor : kInputs) Fill(tensor, response->add_inputs());
  for (const Tensor& tensor : kOutputs) Fill(tensor, response->add_outputs());
  return FinishNow(context);
}

grpc::ServerUnaryReactor* KserveService::ModelInfer(grpc::CallbackServerContext* context,
                                                    const wire::ModelInferRequest* request,
                                                    wire::ModelInferResponse* response) {
  const auto call = std::make_shared<InferCall>(resources_, context, response);
  call->Start(*request, CallerOf(resources_->access, *context));
  return call.get();  // Keeps itself until OnDone.
}

grpc::ServerBidiReactor<wire::ModelInferRequest, wire::ModelStreamInferResponse>*
KserveService::ModelStreamInfer(grpc::CallbackServerContext* context) {
  const auto stream = std::make_shared<InferStream>(resources_, context);
  stream->Start();
  return stream.get();  // Keeps itself until OnDone.
}

}  // namespace ebb::server
