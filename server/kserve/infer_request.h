// ReadInferRequest: tensors and parameters of a ModelInferRequest, as a request of ours and what
// the answer is to hold. Names and defaults are those of Triton's vLLM backend.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "proto/ebb.pb.h"
#include "proto/kserve.pb.h"

namespace ebb::server {

// The one version that a model has here.
inline constexpr char kModelVersion[] = "1";

struct InferRequest {
  v1::GenerateRequest generate;
  bool stream = false;      // Several responses.
  std::string text_before;  // The answer's text begins with this: the prompt, or nothing.
  // Outputs beside text_output.
  bool finish_reason = false;
  bool num_input_tokens = false;
  bool num_output_tokens = false;
  // To be repeated in the answer.
  std::string model_name;
  std::string id;
};

// INVALID_ARGUMENT names the tensor or parameter; UNIMPLEMENTED for what this server cannot do.
absl::StatusOr<InferRequest> ReadInferRequest(const ::inference::ModelInferRequest& in);

// NOT_FOUND, unless `version` is empty or the one that there is.
absl::Status CheckModelVersion(const std::string& version);

}  // namespace ebb::server
