// The calls of ebb.v1.Inference.
#pragma once

#include "grpcpp/grpcpp.h"
#include "proto/ebb.grpc.pb.h"
#include "server/grpc_calls.h"
#include "server/streaming_call.h"

namespace ebb::server {

class UnaryCall final : public WholeCall {
 public:
  UnaryCall(CallResources* resources, grpc::CallbackServerContext* context,
            v1::GenerateResponse* response)
      : WholeCall(resources, context), response_(response) {}

 private:
  void FillResponse() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  v1::GenerateResponse* const response_;
};

class StreamCall final : public StreamingCall<v1::GenerateStreamResponse> {
 public:
  using StreamingCall::StreamingCall;

 private:
  bool FillNext(v1::GenerateStreamResponse* message) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  grpc::Status FillLast(v1::GenerateStreamResponse* message) override
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  bool prompt_info_sent_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace ebb::server
