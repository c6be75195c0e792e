// VllmCall: a Generate of vLLM's contract on gRPC. Streamed or not, its messages are a stream.
#pragma once

#include <cstdint>
#include <vector>

#include "grpcpp/grpcpp.h"
#include "proto/vllm_engine.grpc.pb.h"
#include "server/streaming_call.h"

namespace ebb::server {

class VllmCall final : public StreamingCall<::vllm::grpc::engine::GenerateResponse> {
 public:
  using StreamingCall::StreamingCall;

  // Translates the request and starts it. Called once.
  void Start(const ::vllm::grpc::engine::GenerateRequest& in, const absl::StatusOr<Caller>& caller);

 private:
  bool FillNext(::vllm::grpc::engine::GenerateResponse* message) override
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  grpc::Status FillLast(::vllm::grpc::engine::GenerateResponse* message) override
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FillComplete(const engine::Finish& finish, ::vllm::grpc::engine::GenerateComplete* complete)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What has been answered since the last time; the stop token last, if it is to be shown.
  bool TakeDelta(v1::Delta* delta) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Moves the prompt's log-probabilities out. False when they are not pending.
  bool TakeInputLogProbs(::vllm::grpc::engine::InputLogProbs* out)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Of the request; set by Start.
  bool stream_ = false;
  bool stop_token_due_ = false;  // The token that stops the answer is still to be shown.
  std::vector<uint32_t> stop_token_ids_;

  uint32_t completion_tokens_ ABSL_GUARDED_BY(mutex_) = 0;  // Given out so far.
};

}  // namespace ebb::server
