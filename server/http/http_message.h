// HttpRequest and HttpReply: one request as it came, and a whole answer, as plain values.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"

namespace ebb::server {

struct HttpHeader {
  std::string name;
  std::string value;
};

struct HttpRequest {
  std::string method;  // As written: "GET". Methods are case-sensitive.
  std::string path;    // Without the query; not decoded.
  std::vector<HttpHeader> headers;
  std::string body;
  std::string tenant;  // Whose it is, set by who screens it; empty: everybody's.

  // The first header of this name, in any case. Null if there is none.
  const std::string* Header(absl::string_view name) const {
    for (const HttpHeader& header : headers) {
      if (absl::EqualsIgnoreCase(header.name, name)) return &header.value;
    }
    return nullptr;
  }
};

struct HttpReply {
  int status = 200;
  std::string content_type = "application/json";
  std::vector<HttpHeader> headers;  // Besides content type, length and connection.
  std::string body;
};

}  // namespace ebb::server
