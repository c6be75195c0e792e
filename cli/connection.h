// Connection: a channel to one server and the stubs on it.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "grpcpp/grpcpp.h"
#include "proto/ebb.grpc.pb.h"

namespace ebb::cli {

inline constexpr absl::string_view kDefaultAddress = "127.0.0.1:50051";

// ADDR:PORT with a port from 1 to 65535, an IPv6 address in brackets, or unix:PATH. gRPC itself
// would take a port that is too large modulo 65536 and talk to somebody else. `option` is named in
// errors.
absl::Status CheckAddress(absl::string_view option, absl::string_view address);

// How the two ends know each other. Certificates and keys are PEM.
struct Credentials {
  std::string token;            // Sent as "authorization: Bearer TOKEN"; empty: none is.
  std::string control_token;    // The same to Control; empty: `token`.
  std::string ca_pem;           // Who vouches for the server. Empty: nothing is encrypted.
  std::string certificate_pem;  // Shown to a server that asks for one.
  std::string key_pem;
};

// Where a server is.
struct Addresses {
  std::string address;
  std::string control;  // Of Control, where it has one of its own; else empty.
};

// Thread-safe. Made without waiting: the first call connects.
class Connection {
 public:
  explicit Connection(std::string address, const Credentials& credentials = {})
      : Connection(Addresses{std::move(address), ""}, credentials) {}
  Connection(const Addresses& addresses, const Credentials& credentials);

  const std::string& address() const { return address_; }
  v1::Inference::Stub* inference() const { return inference_.get(); }
  v1::Control::Stub* control() const { return control_.get(); }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

  // True once a server accepts connections; tries again until `timeout`.
  bool WaitUntilReachable(absl::Duration timeout) const;

  // What to tell a user about a call that failed: the code, the server's words, and if nobody
  // answered how to start a server.
  std::string Explain(const grpc::Status& status) const;

  // True if `status` means that no server was reached, not that one refused.
  bool IsUnreachable(const grpc::Status& status) const;

 private:
  const std::string address_;
  const bool encrypted_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::Inference::Stub> inference_;
  const std::unique_ptr<v1::Control::Stub> control_;
};

// "RESOURCE_EXHAUSTED".
absl::string_view StatusCodeName(grpc::StatusCode code);

}  // namespace ebb::cli
