// HttpServer: listens, and gives each connection a session (session.h). A few threads do all the
// reading and writing; a handler answers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/http/exchange.h"
#include "server/http/host_names.h"
#include "server/listen_address.h"
#include "server/tls_files.h"

namespace ebb::server {

struct HttpServerOptions {
  ListenAddress listen;
  HostNames hosts;                             // Requests to other names are 421.
  int64_t body_bytes_max = 4 << 20;            // Of one request; more is 413.
  size_t header_bytes_max = size_t{16} << 10;  // Request line and headers; more is 431.
  // All bodies that are being read and answered together; more is 503.
  int64_t bodies_bytes_max = int64_t{512} << 20;
  size_t connections_max = 1024;  // The next ones are told 503.
  TlsFiles* tls = nullptr;        // Outlives the server. Null: nothing is encrypted.
  absl::Duration handshake_timeout = absl::Seconds(10);  // Of TLS.
  // A connection without a request.
  absl::Duration idle_timeout = absl::Seconds(75);
  // From a request's first byte to the end of its head, and from there to the end of its body.
  absl::Duration header_timeout = absl::Seconds(10);
  absl::Duration body_timeout = absl::Seconds(60);
  // The client takes nothing of its answer.
  absl::Duration write_timeout = absl::Seconds(120);
  // The client's system takes or acknowledges nothing: the client has vanished without a word. At
  // least 2 s; our system counts in whole ones, and notices at most a fifth later.
  absl::Duration peer_timeout = absl::Seconds(50);
};

// Thread-safe.
class HttpServer {
 public:
  // Listens and serves at once. `handler` outlives the server. UNAVAILABLE when the address cannot
  // be listened on, for example because another process does.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const HttpServerOptions& options,
                                                           HttpHandler* handler);
  // Shuts down, if that has not been done.
  ~HttpServer();

  // With the port that is really listened on.
  const ListenAddress& address() const;
  size_t connection_count() const;
  // Of all bodies that are being read and answered.
  int64_t bodies_bytes() const;

  // Answers end their connections from now on. New ones are still taken, so that probes and clients
  // are told what the handler says.
  void SetClosing();
  // No new connections. Answers that are still being sent after `flush` are cut off. Returns when
  // nobody uses an exchange any more.
  void Shutdown(absl::Duration flush);

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace ebb::server
