// FillInferResponse: parts of a request's answers, or whole ones, as named tensors.
#pragma once

#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "proto/ebb.pb.h"
#include "proto/kserve.pb.h"
#include "server/kserve/infer_request.h"

namespace ebb::server {

// One of the request's answers.
struct InferPart {
  v1::Delta delta;                                // What came since the last response.
  std::optional<v1::FinishReason> finish_reason;  // None while it goes on.
};

// Of a whole answer.
std::vector<InferPart> PartsOf(v1::GenerateResponse whole);

// Each tensor has an element for each of `parts`, but num_input_tokens, which has one.
void FillInferResponse(const InferRequest& request, const v1::PromptInfo& prompt,
                       absl::Span<const InferPart> parts, ::inference::ModelInferResponse* out);

}  // namespace ebb::server
