// HostNames: by which names clients may call the HTTP server, as their Host header says.
//
// A page of a stranger's, open in a browser on this machine, can have its own name lead to the
// loopback (DNS rebinding) and then read this server's answers as if they were its own. Its Host
// header gives it away: it holds the stranger's name, never "localhost" and never an address.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/listen_address.h"

namespace ebb::server {

// A value. Made without arguments, it allows any name.
class HostNames {
 public:
  HostNames() = default;
  // `listed`: the setting server.http_hosts. Where it is empty, a server that listens beyond the
  // loopback is called by names that only its network knows: any is allowed there.
  HostNames(const ListenAddress& listen, absl::string_view listed);

  // Of the value of a Host header, whose port does not matter: whether it is an address,
  // "localhost" or one of the names listed.
  bool Allows(absl::string_view host) const;

 private:
  bool any_ = true;
  std::vector<std::string> names_;
};

}  // namespace ebb::server
