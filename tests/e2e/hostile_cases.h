// Requests that a client should not send, each in its form over HTTP, over gRPC, or both, and the
// status that it gets. docs/hostile-inputs.md has the same names.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace ebb::tests {

struct HostileCase {
  std::string name;
  absl::StatusCode code = absl::StatusCode::kInvalidArgument;
  // The path and the body; no form over HTTP where the path is empty.
  std::string path;
  std::string body;
  // A GenerateRequest in protobuf's text format, laid over one for four tokens after "hi"; no form
  // over gRPC where it is empty.
  std::string grpc;
};

// For a model of `vocabulary_tokens` and `context_tokens`.
std::vector<HostileCase> HostileCases(int64_t vocabulary_tokens, int64_t context_tokens);

}  // namespace ebb::tests
