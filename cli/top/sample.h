// Sample: what a server told of itself at one moment.
#pragma once

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "base/clock.h"
#include "cli/connection.h"
#include "cli/interrupt.h"
#include "grpcpp/grpcpp.h"
#include "proto/ebb.grpc.pb.h"

namespace ebb::cli {

struct Sample {
  absl::Time time;
  grpc::Status status;
  std::string error;  // In words of one line, where the status is not OK; the rest is empty then.
  v1::GetModelInfoResponse model;
  v1::GetServerInfoResponse server;
  v1::GetMemoryResponse memory;
  std::optional<v1::GetWindowsResponse> windows;  // None: a server that does not tell them.

  bool answered() const { return status.ok(); }
};

// Asks the server; an interrupt cancels. A server that is silent for so long has not answered.
Sample TakeSample(const Connection& connection, absl::Duration timeout, const base::Clock& clock,
                  Interrupt* interrupt);

}  // namespace ebb::cli
