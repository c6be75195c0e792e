// InferenceService: ebb.v1.Inference over an engine. Thin: reading is RequestReader's, running is
// GenerateCall's.
#pragma once

#include "grpcpp/grpcpp.h"
#include "proto/ebb.grpc.pb.h"
#include "server/generate_call.h"
#include "server/task_threads.h"

namespace ebb::server {

// Thread-safe. `resources` outlives it and every call.
class InferenceService final : public v1::Inference::CallbackService {
 public:
  explicit InferenceService(CallResources* resources);

  grpc::ServerUnaryReactor* Generate(grpc::CallbackServerContext* context,
                                     const v1::GenerateRequest* request,
                                     v1::GenerateResponse* response) override;
  grpc::ServerWriteReactor<v1::GenerateStreamResponse>* GenerateStream(
      grpc::CallbackServerContext* context, const v1::GenerateRequest* request) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const v1::TokenizeRequest* request,
                                     v1::TokenizeResponse* response) override;
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context,
                                       const v1::DetokenizeRequest* request,
                                       v1::DetokenizeResponse* response) override;

 private:
  void TokenizeNow(const v1::TokenizeRequest& request, v1::TokenizeResponse* response,
                   grpc::ServerUnaryReactor* reactor);
  // Ends a call about texts; what was refused is logged.
  void FinishText(const absl::Status& status, grpc::ServerUnaryReactor* reactor);

  CallResources* const resources_;
  // A text of megabytes takes a second. On gRPC's few threads it would hold up health and everybody
  // else: long texts take turns on a thread of their own.
  TaskThreads long_texts_;
};

}  // namespace ebb::server
