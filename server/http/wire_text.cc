#include "server/http/wire_text.h"

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace ebb::server {
namespace {

void AppendHeaders(const std::vector<HttpHeader>& headers, std::string* out) {
  for (const HttpHeader& header : headers) {
    absl::StrAppend(out, header.name, ": ", header.value, "\r\n");
  }
}

}  // namespace

absl::string_view ReasonPhrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Payload Too Large";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 421:
      return "Misdirected Request";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 499:
      return "Client Closed Request";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Internal Server Error";
  }
}

std::string ReplyText(const HttpReply& reply, bool keep_alive, bool with_body) {
  std::string text = absl::StrCat("HTTP/1.1 ", reply.status, " ", ReasonPhrase(reply.status),
                                  "\r\ncontent-type: ", reply.content_type, "\r\n");
  AppendHeaders(reply.headers, &text);
  absl::StrAppend(&text, "content-length: ", reply.body.size(),
                  "\r\nconnection: ", keep_alive ? "keep-alive" : "close", "\r\n\r\n");
  if (with_body) text += reply.body;
  return text;
}

std::string EventsHead(const std::vector<HttpHeader>& headers, bool keep_alive, bool chunked) {
  std::string text =
      "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
      "cache-control: no-cache\r\n";
  AppendHeaders(headers, &text);
  // Proxies that gather answers before they pass them on are asked not to.
  absl::StrAppend(&text, "x-accel-buffering: no\r\n",
                  chunked ? "transfer-encoding: chunked\r\n" : "",
                  "connection: ", keep_alive ? "keep-alive" : "close", "\r\n\r\n");
  return text;
}

std::string Chunk(absl::string_view data) {
  CHECK(!data.empty());
  return absl::StrCat(absl::Hex(data.size()), "\r\n", data, "\r\n");
}

}  // namespace ebb::server
