// InferCall: one ModelInfer on gRPC.
#pragma once

#include "grpcpp/grpcpp.h"
#include "proto/kserve.pb.h"
#include "server/grpc_calls.h"
#include "server/kserve/infer_request.h"

namespace ebb::server {

class InferCall final : public WholeCall {
 public:
  InferCall(CallResources* resources, grpc::CallbackServerContext* context,
            ::inference::ModelInferResponse* response)
      : WholeCall(resources, context), response_(response) {}

  // Translates the request and starts it. Called once.
  void Start(const ::inference::ModelInferRequest& in, const absl::StatusOr<Caller>& caller);

 private:
  void FillResponse() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  InferRequest request_;  // Set by Start.
  ::inference::ModelInferResponse* const response_;
};

}  // namespace ebb::server
