// What a client reads of a status. Most messages are written for clients; those of our own faults
// and of a lost device are not: they have a driver's words, paths or addresses. A client gets fixed
// words for them, whichever interface it speaks, and the log has the message.
//
// Whatever puts a status on a wire asks here: ToGrpc, the errors of http/, KServe's stream, health.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace ebb::server {

// INTERNAL and what stands for the same: nothing that the client did.
bool IsOurFault(const absl::Status& status);

// Instead of the status's message; nullopt where that is for clients. With a `request_id` it says
// under which the log has the message.
std::optional<std::string> TextInstead(const absl::Status& status, absl::string_view request_id);

// The one or the other.
std::string ClientText(const absl::Status& status, absl::string_view request_id = "");

}  // namespace ebb::server
