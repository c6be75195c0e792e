// An HTTP/1.1 answer as bytes: heads and chunks.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/http/http_message.h"

namespace ebb::server {

// "Not Found" for 404.
absl::string_view ReasonPhrase(int status);

// Head and body; `with_body` false leaves the body out and says its length, as HEAD wants it.
std::string ReplyText(const HttpReply& reply, bool keep_alive, bool with_body);

// The head of an answer of server-sent events. Without `chunked` it ends with the connection.
std::string EventsHead(const std::vector<HttpHeader>& headers, bool keep_alive, bool chunked);

// `data` as one chunk. REQUIRES: not empty, for an empty chunk ends the answer.
std::string Chunk(absl::string_view data);
inline constexpr absl::string_view kLastChunk = "0\r\n\r\n";

}  // namespace ebb::server
