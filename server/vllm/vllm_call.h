// VllmCall: a Generate of vLLM's contract on gRPC. Streamed or not, its messages are a stream:
// chunks of any answer if it is streamed, and for each answer a complete one. The last of these
// goes with the call's status.
#pragma once

#include <cstdint>
#include <map>
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
  // One of the request's answers.
  struct Part {
    v1::Delta rest;                  // Not streamed: all of it.
    uint32_t completion_tokens = 0;  // Given out so far.
    bool ended = false;              // And that it ended, too.
  };

  bool FillNext(::vllm::grpc::engine::GenerateResponse* message) override
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  grpc::Status FillLast(::vllm::grpc::engine::GenerateResponse* message) override
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FillChunk(const v1::Delta& delta, ::vllm::grpc::engine::GenerateStreamChunk* chunk)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FillComplete(const v1::Finished& finished, ::vllm::grpc::engine::GenerateComplete* complete)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What one of the answers came to since the last time; the stop token last, if it is to be shown.
  bool TakeDelta(v1::Delta* delta) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // An answer that has ended, of several. Without a reason: the request was aborted.
  bool TakeEnd(v1::Finished* finished) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Moves the prompt's log-probabilities out. False when they are not pending.
  bool TakeInputLogProbs(::vllm::grpc::engine::InputLogProbs* out)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsAborted() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Of the request; set by Start.
  bool stream_ = false;
  int64_t n_ = 1;
  bool stop_token_due_ = false;  // The token that stops the answer is still to be shown.
  std::vector<uint32_t> stop_token_ids_;

  std::map<int64_t, Part> parts_ ABSL_GUARDED_BY(mutex_);  // By index.
  int64_t ends_ ABSL_GUARDED_BY(mutex_) = 0;               // Of parts.
};

}  // namespace ebb::server
