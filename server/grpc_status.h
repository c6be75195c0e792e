// absl::Status as the wire's grpc::Status: the same codes, the same message; and calls that end
// with one at once.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "grpcpp/grpcpp.h"

namespace ebb::server {

inline grpc::Status ToGrpc(const absl::Status& status) {
  // Both use the canonical codes' numbers.
  return grpc::Status(static_cast<grpc::StatusCode>(status.raw_code()),
                      std::string(status.message()));
}

// The call, ended; its response, if `status` is OK, is filled.
inline grpc::ServerUnaryReactor* FinishNow(grpc::CallbackServerContext* context,
                                           const absl::Status& status = absl::OkStatus()) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(status));
  return reactor;
}

}  // namespace ebb::server
