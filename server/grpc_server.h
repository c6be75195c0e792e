// GrpcServer: our services, grpc.health.v1 and reflection behind one port.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/grpcpp.h"
#include "server/listen_address.h"
#include "server/tls_files.h"

namespace ebb::server {

struct NamedService {
  grpc::Service* service = nullptr;
  std::string name;  // As health knows it: "ebb.v1.Inference".
};

struct GrpcServerOptions {
  ListenAddress listen;
  int64_t message_bytes_max = 4 << 20;  // Of a request; larger ones end with RESOURCE_EXHAUSTED.
  // Reflection asks for no token: a server that wants them goes without.
  bool reflection = true;
  TlsFiles* tls = nullptr;  // Outlives the server. Null: nothing is encrypted.
  // A peer that says nothing is asked after three fifths of this time, and its connection ends when
  // it has not answered by the end of it.
  absl::Duration peer_timeout = absl::Seconds(50);
};

// Thread-safe.
class GrpcServer {
 public:
  // Listens and serves at once, health SERVING, for each service and as a whole. The services
  // outlive the server. UNAVAILABLE when the
  // address cannot be listened on, for example because another process does.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(
      const GrpcServerOptions& options, const std::vector<NamedService>& services);
  // Shuts down, if that has not been done.
  ~GrpcServer();

  // With the port that is really listened on.
  const ListenAddress& address() const { return address_; }

  // Whether health answers SERVING or NOT_SERVING from now on; those who watch are told. REQUIRES:
  // Shutdown has not been called.
  void SetServing(bool serving);

  // No new connections and calls. Calls still open after `flush` are cancelled. Returns when none
  // is left.
  void Shutdown(absl::Duration flush);

 private:
  GrpcServer() = default;

  ListenAddress address_;
  std::shared_ptr<grpc::ServerCredentials> credentials_;  // gRPC asks them until the server ends.
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace ebb::server
