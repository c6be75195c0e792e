// ListenAddress: where the server listens, "ADDR:PORT" with a literal address.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ebb::server {

struct ListenAddress {
  std::string host;  // "127.0.0.1", "0.0.0.0", "::1"; without brackets.
  int port = 0;      // 0: the system picks one.
  bool is_loopback = false;

  // "127.0.0.1:50051", "[::1]:50051".
  std::string ToString() const;
};

// Takes "IPV4:PORT", "[IPV6]:PORT" and "localhost:PORT" (127.0.0.1). Names are not resolved: which
// interfaces a server is reachable on must not depend on a name service.
absl::StatusOr<ListenAddress> ParseListenAddress(absl::string_view text);

}  // namespace ebb::server
