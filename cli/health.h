// CheckHealth: asks the standard service grpc.health.v1.Health.
#pragma once

#include <string>

#include "cli/connection.h"

namespace ebb::cli {

// Whether the whole server serves: `answer` is "SERVING", "NOT_SERVING" or "UNKNOWN".
grpc::Status CheckHealth(const Connection& connection, grpc::ClientContext* context,
                         std::string* answer);

}  // namespace ebb::cli
