// SessionHub: what all connections of a server share: limits, handler, and the list of those open.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "base/mutex.h"
#include "server/http/exchange.h"
#include "server/http/http_server.h"

namespace ebb::server {

class AnySession {
 public:
  virtual ~AnySession() = default;
  // Thread-safe. Ends the connection soon: `now`, or when its request, if it has one, is answered.
  virtual void Stop(bool now) = 0;
};

// Thread-safe. Outlives its sessions.
class SessionHub {
 public:
  SessionHub(const HttpServerOptions& server_options, HttpHandler* request_handler)
      : options(server_options), handler(request_handler) {}

  const HttpServerOptions options;
  HttpHandler* const handler;
  std::atomic<bool> closing = false;      // Answers end their connections.
  std::atomic<int64_t> bodies_bytes = 0;  // Of all requests being read and answered.

  // False when there are too many, or after StopAll(true).
  bool Enter(const std::shared_ptr<AnySession>& session);
  void Leave(const AnySession* session);
  void StopAll(bool now);
  // Whether all sessions had left within `timeout`.
  bool WaitUntilEmpty(absl::Duration timeout);
  size_t size() const;

 private:
  mutable base::Mutex mutex_;
  base::CondVar left_;
  std::map<const AnySession*, std::weak_ptr<AnySession>> sessions_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace ebb::server
