// absl::Status as the wire's grpc::Status: the same codes, and what a client may read of the
// message; and calls that end with one at once.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "grpcpp/grpcpp.h"
#include "server/client_text.h"

namespace ebb::server {

inline grpc::Status ToGrpc(const absl::Status& status, absl::string_view request_id = "") {
  // Both use the canonical codes' numbers.
  return grpc::Status(static_cast<grpc::StatusCode>(status.raw_code()),
                      ClientText(status, request_id));
}

// The call, ended; its response, if `status` is OK, is filled.
inline grpc::ServerUnaryReactor* FinishNow(grpc::CallbackServerContext* context,
                                           const absl::Status& status = absl::OkStatus()) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(status));
  return reactor;
}

}  // namespace ebb::server
