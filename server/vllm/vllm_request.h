// What vLLM's contract asks, as a request of ours: ToGenerateRequest. It translates; ranges are
// checked by RequestReader, for all transports alike.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/ebb.pb.h"
#include "proto/vllm_engine.pb.h"

namespace ebb::server {

// Sets sampling, stopping and output from `params`. UNIMPLEMENTED for what this server cannot do:
// constraints and truncated prompts.
absl::Status FillSampling(const ::vllm::grpc::engine::SamplingParams& params,
                          v1::GenerateRequest* out);

// Errors as FillSampling's; UNIMPLEMENTED, too, for fields that this server does not know.
absl::StatusOr<v1::GenerateRequest> ToGenerateRequest(
    const ::vllm::grpc::engine::GenerateRequest& in);

}  // namespace ebb::server
