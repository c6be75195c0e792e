// KserveService: KServe's inference protocol over an engine, so that Triton's clients can call this
// server. The model is one with text in and text out, named as everywhere else.
#pragma once

#include <string>

#include "grpcpp/grpcpp.h"
#include "proto/kserve.grpc.pb.h"
#include "server/generate_call.h"

namespace ebb::server {

struct KserveOptions {
  std::string model_name;
  std::string version;  // Of the server.
};

// Thread-safe. `resources` outlives it and every call.
class KserveService final : public ::inference::GRPCInferenceService::CallbackService {
 public:
  KserveService(KserveOptions options, CallResources* resources);

  grpc::ServerUnaryReactor* ServerLive(grpc::CallbackServerContext* context,
                                       const ::inference::ServerLiveRequest* request,
                                       ::inference::ServerLiveResponse* response) override;
  grpc::ServerUnaryReactor* ServerReady(grpc::CallbackServerContext* context,
                                        const ::inference::ServerReadyRequest* request,
                                        ::inference::ServerReadyResponse* response) override;
  grpc::ServerUnaryReactor* ModelReady(grpc::CallbackServerContext* context,
                                       const ::inference::ModelReadyRequest* request,
                                       ::inference::ModelReadyResponse* response) override;
  grpc::ServerUnaryReactor* ServerMetadata(grpc::CallbackServerContext* context,
                                           const ::inference::ServerMetadataRequest* request,
                                           ::inference::ServerMetadataResponse* response) override;
  grpc::ServerUnaryReactor* ModelMetadata(grpc::CallbackServerContext* context,
                                          const ::inference::ModelMetadataRequest* request,
                                          ::inference::ModelMetadataResponse* response) override;
  grpc::ServerUnaryReactor* ModelInfer(grpc::CallbackServerContext* context,
                                       const ::inference::ModelInferRequest* request,
                                       ::inference::ModelInferResponse* response) override;
  grpc::ServerBidiReactor<::inference::ModelInferRequest, ::inference::ModelStreamInferResponse>*
  ModelStreamInfer(grpc::CallbackServerContext* context) override;

 private:
  bool IsReady() const;
  // NOT_FOUND for another model; an empty name is whatever is served.
  absl::Status CheckModel(const std::string& name, const std::string& version) const;

  const KserveOptions options_;
  CallResources* const resources_;
};

}  // namespace ebb::server
