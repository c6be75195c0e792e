// gRPC's credentials of a port that speaks TLS.
#pragma once

#include <memory>

#include "grpcpp/grpcpp.h"
#include "server/tls_files.h"

namespace ebb::server {

// For one port. Each new connection is served with what `files`, which outlives the server, holds
// then.
std::shared_ptr<grpc::ServerCredentials> TlsCredentials(TlsFiles* files);

}  // namespace ebb::server
