// One connection over HTTP/1.1: requests are read one after the other and answered in order.
//
//   reading ──> screened by its head ──> body ──> answering ──> reading the next, or closing
//      └── timeouts, limits, malformed: an error, and the connection ends ──┘
//
// A read is always pending, also while a request is answered: so a client that leaves is noticed at
// once. What it sends meanwhile (pipelining) waits in a bounded buffer.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "server/http/session_hub.h"

namespace ebb::server {

// Serves `socket`, whose executor is a strand of `context`, until it ends. `hub` outlives the
// context's work. Returns at once.
void StartSession(boost::asio::ip::tcp::socket socket, boost::asio::io_context* context,
                  SessionHub* hub);

}  // namespace ebb::server
