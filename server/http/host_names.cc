#include "server/http/host_names.h"

#include <arpa/inet.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"

namespace ebb::server {
namespace {

constexpr absl::string_view kAnyName = "*";

bool IsAddress(int family, absl::string_view text) {
  in6_addr ignored;  // Large enough for either.
  return inet_pton(family, std::string(text).c_str(), &ignored) == 1;
}

}  // namespace

HostNames::HostNames(const ListenAddress& listen, absl::string_view listed)
    : any_(listed == kAnyName || (listed.empty() && !listen.is_loopback)) {
  for (const absl::string_view name : absl::StrSplit(listed, ',', absl::SkipWhitespace())) {
    names_.emplace_back(absl::StripAsciiWhitespace(name));
  }
  names_.emplace_back("localhost");
}

bool HostNames::Allows(absl::string_view host) const {
  if (any_) return true;
  if (absl::StartsWith(host, "[")) {
    const size_t end = host.find(']');
    return end != absl::string_view::npos && IsAddress(AF_INET6, host.substr(1, end - 1));
  }
  host = host.substr(0, host.find(':'));
  if (IsAddress(AF_INET, host)) return true;
  for (const std::string& name : names_) {
    if (absl::EqualsIgnoreCase(host, name)) return true;
  }
  return false;
}

}  // namespace ebb::server
