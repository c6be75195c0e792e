// The trace that a request belongs to, as W3C Trace Context carries it.
// https://www.w3.org/TR/trace-context/
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ebb::server {

// The name of the header, in gRPC's metadata and in HTTP alike.
inline constexpr char kTraceparent[] = "traceparent";

// The trace id, 32 hexadecimal digits, in a traceparent:
//
//   00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
//
// A later version may have more behind it. Empty when it is malformed: then the request has no
// trace, as the standard asks.
std::string TraceIdOf(absl::string_view traceparent);

// The same of all headers of that name: there must be one.
std::string TraceIdOf(absl::Span<const absl::string_view> traceparents);

}  // namespace ebb::server
