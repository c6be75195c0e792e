// Ledger: how the clients of a server saw their requests end, joined with what its log says.
//
// Every request of a test has a request id of its own, or one that it shares with others on
// purpose. Its client writes down what it saw; when the server has ended, the two sides must agree:
// each request that was accepted has exactly one `request_finished` line, with the status that its
// client got, and those that were turned away have none.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "tests/e2e/client.h"
#include "tests/e2e/server_process.h"
#include "tests/server/http/http_client.h"

namespace ebb::tests {

// Thread-safe.
class Ledger {
 public:
  enum class Seen {
    kRefused,  // Turned away.
    kEnded,    // Accepted, and then ended with the status.
    kUnclear,  // Either of the two, with the status.
    kLeft,     // The client left before it knew.
  };

  void Record(const std::string& id, Seen seen, absl::StatusCode code);
  // What these clients can tell: a deadline and a call that was cancelled count as left.
  void Record(const std::string& id, const grpc::Status& unary);
  void Record(const std::string& id, const Streamed& streamed);
  // A request that was answered whole, or as events to their end. Status 0: the client left.
  void Record(const std::string& id, const HttpAnswer& answer);

  // REQUIRES: the server has ended by itself (Wait() has returned).
  void ExpectBalanced(const ServerProcess& server) const;

 private:
  struct Entry {
    Seen seen;
    std::string status;
  };

  mutable base::Mutex mutex_;
  std::map<std::string, std::vector<Entry>> entries_ ABSL_GUARDED_BY(mutex_);  // By request id.
};

}  // namespace ebb::tests
