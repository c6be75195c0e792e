#include "server/http/request_head.h"

#include "absl/strings/match.h"
#include "absl/strings/strip.h"

namespace ebb::server {

std::string PathOf(absl::string_view target) {
  for (const absl::string_view scheme : {"http://", "https://"}) {
    if (!absl::StartsWithIgnoreCase(target, scheme)) continue;
    target.remove_prefix(scheme.size());
    const size_t slash = target.find('/');
    target = slash == absl::string_view::npos ? "/" : target.substr(slash);
    break;
  }
  if (!absl::StartsWith(target, "/")) return "";
  return std::string(target.substr(0, target.find_first_of("?#")));
}

HeadProblem CheckHead(const HttpRequest& head, bool is_http_1_1, const HostNames& hosts) {
  const std::string* const host = head.Header("host");
  if (is_http_1_1 && host == nullptr) return {400, "the Host header is missing"};
  if (host != nullptr && !hosts.Allows(*host)) {
    return {421,
            "Host: this server is called by an address or as localhost; whoever runs it can list "
            "other names in server.http_hosts"};
  }
  if (head.path.empty()) return {400, "the request's target must be a path, such as /v1/models"};
  // Anything else that a proxy before us might read in another way than we do.
  int encodings = 0;
  int host_count = 0;
  for (const HttpHeader& header : head.headers) {
    if (absl::EqualsIgnoreCase(header.name, "host") && ++host_count > 1) {
      return {400, "the Host header is given twice"};
    }
    if (!absl::EqualsIgnoreCase(header.name, "transfer-encoding")) continue;
    if (++encodings > 1 || !absl::EqualsIgnoreCase(header.value, "chunked")) {
      return {501, "Transfer-Encoding: only chunked is read"};
    }
  }
  const std::string* const expect = head.Header("expect");
  if (expect != nullptr && !absl::EqualsIgnoreCase(*expect, "100-continue")) {
    return {417, "Expect: only 100-continue is understood"};
  }
  return {};
}

bool ExpectsContinue(const HttpRequest& head) { return head.Header("expect") != nullptr; }

}  // namespace ebb::server
