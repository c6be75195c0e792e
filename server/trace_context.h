// The trace that a request belongs to, as W3C Trace Context carries it.
// https://www.w3.org/TR/trace-context/
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace ebb::server {

// The name of the header, in gRPC's metadata and in HTTP alike.
inline constexpr char kTraceparent[] = "traceparent";

// The trace id, 32 hexadecimal digits, in a traceparent of version 00:
//
//   00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
//
// Empty when it is malformed: then the request has no trace, as the standard asks.
std::string TraceIdOf(absl::string_view traceparent);

}  // namespace ebb::server
