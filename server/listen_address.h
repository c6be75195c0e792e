// ListenAddress: where the server listens, "ADDR:PORT" with a literal address, or "unix:PATH".
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ebb::server {

struct ListenAddress {
  std::string host;  // "127.0.0.1", "0.0.0.0", "::1"; without brackets.
  int port = 0;      // 0: the system picks one.
  bool is_loopback = false;
  std::string
      unix_path;  // Of a Unix socket, which is loopback too; host and port are nothing then.

  // "127.0.0.1:50051", "[::1]:50051", "unix:/run/ebb.sock".
  std::string ToString() const;
};

// Takes "IPV4:PORT", "[IPV6]:PORT" and "localhost:PORT" (127.0.0.1). Names are not resolved: which
// interfaces a server is reachable on must not depend on a name service.
absl::StatusOr<ListenAddress> ParseListenAddress(absl::string_view text);

// That, or "unix:PATH", which only gRPC can listen on.
absl::StatusOr<ListenAddress> ParseControlAddress(absl::string_view text);

}  // namespace ebb::server
