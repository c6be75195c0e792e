// What a session reads from the head of a request beyond its grammar.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "server/http/host_names.h"
#include "server/http/http_message.h"

namespace ebb::server {

// The path of a request's target, "/v1/models?x=1" or "http://host/v1/models". Empty if it is
// neither.
std::string PathOf(absl::string_view target);

struct HeadProblem {
  int status = 0;  // 0: none.
  std::string message;
};
// Whether this server reads such a message: whom it calls, how its body is laid out, what it
// expects.
HeadProblem CheckHead(const HttpRequest& head, bool is_http_1_1, const HostNames& hosts);

// The client waits for a word before it sends the body.
bool ExpectsContinue(const HttpRequest& head);

}  // namespace ebb::server
