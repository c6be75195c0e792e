// FillInferResponse: a part of an answer, or a whole one, as named tensors.
#pragma once

#include "proto/ebb.pb.h"
#include "proto/kserve.pb.h"
#include "server/kserve/infer_request.h"

namespace ebb::server {

// `delta`: what came since the last response. `finished`: how the answer ended, or null while it
// goes on.
void FillInferResponse(const InferRequest& request, const v1::PromptInfo& prompt,
                       const v1::Delta& delta, const v1::Finished* finished,
                       ::inference::ModelInferResponse* out);

}  // namespace ebb::server
