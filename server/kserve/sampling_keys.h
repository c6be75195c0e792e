// SetSamplingKey: a named sampling parameter, as clients of Triton's vLLM backend write it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "proto/ebb.pb.h"

namespace ebb::server {

// Numbers and truth values may come as JSON's own or as text ("0.7", "true"): both are usual.
// INVALID_ARGUMENT for a name that nobody knows or a value of another kind; UNIMPLEMENTED for what
// this server cannot do. Ranges are RequestReader's matter.
absl::Status SetSamplingKey(const std::string& name, const nlohmann::json& value,
                            v1::GenerateRequest* out);

}  // namespace ebb::server
