#include "server/listen_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace ebb::server {
namespace {

constexpr absl::string_view kUnixScheme = "unix:";
constexpr size_t kUnixPathBytesMax = 107;  // What sockaddr_un holds.

absl::Status BadAddress(absl::string_view text) {
  return absl::InvalidArgumentError(
      absl::StrCat("listen address \"", text,
                   "\": must be ADDR:PORT with a literal address and a port from 0 to 65535, such "
                   "as 127.0.0.1:50051 or [::1]:50051"));
}

}  // namespace

std::string ListenAddress::ToString() const {
  if (!unix_path.empty()) return absl::StrCat(kUnixScheme, unix_path);
  const bool is_v6 = absl::StrContains(host, ":");
  return absl::StrCat(is_v6 ? "[" : "", host, is_v6 ? "]:" : ":", port);
}

absl::StatusOr<ListenAddress> ParseListenAddress(absl::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos) return BadAddress(text);
  const absl::string_view port = text.substr(colon + 1);
  absl::string_view host = text.substr(0, colon);
  ListenAddress address;
  if (port.empty() || port.size() > 5 ||
      !std::all_of(port.begin(), port.end(), absl::ascii_isdigit) ||
      !absl::SimpleAtoi(port, &address.port) || address.port > 65535) {
    return BadAddress(text);
  }
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (host == "localhost") host = "127.0.0.1";
  address.host = std::string(host);
  if (in_addr v4; !bracketed && inet_pton(AF_INET, address.host.c_str(), &v4) == 1) {
    address.is_loopback = (ntohl(v4.s_addr) >> 24) == 127;
    return address;
  }
  if (in6_addr v6; bracketed && inet_pton(AF_INET6, address.host.c_str(), &v6) == 1) {
    address.is_loopback = IN6_IS_ADDR_LOOPBACK(&v6);
    return address;
  }
  return BadAddress(text);
}

absl::StatusOr<ListenAddress> ParseControlAddress(absl::string_view text) {
  if (!absl::StartsWith(text, kUnixScheme)) return ParseListenAddress(text);
  ListenAddress address;
  address.unix_path = std::string(text.substr(kUnixScheme.size()));
  address.is_loopback = true;
  if (address.unix_path.empty() || address.unix_path.size() > kUnixPathBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "listen address \"", text, "\": the path must have 1 to ", kUnixPathBytesMax, " bytes"));
  }
  return address;
}

}  // namespace ebb::server
