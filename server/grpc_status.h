// absl::Status as the wire's grpc::Status: the same codes, the same message.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace ebb::server {

inline grpc::Status ToGrpc(const absl::Status& status) {
  // Both use the canonical codes' numbers.
  return grpc::Status(static_cast<grpc::StatusCode>(status.raw_code()),
                      std::string(status.message()));
}

}  // namespace ebb::server
