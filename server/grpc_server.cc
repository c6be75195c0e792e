#include "server/grpc_server.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/impl/server_builder_option.h"
#include "grpcpp/impl/server_builder_plugin.h"
#include "grpcpp/resource_quota.h"
#include "server/grpc_tls.h"

namespace ebb::server {
namespace {

constexpr int kStreamsPerConnectionMax = 1024;
constexpr int kMetadataBytesMax = 16 << 10;
constexpr int kHandshakeTimeoutMs = 10'000;  // Of TLS and of HTTP/2.
// Reflection is the only service of gRPC's synchronous kind, which takes a thread for each open
// call: a few are enough.
constexpr int kSyncThreadsMax = 8;
// What gRPC may hold for all connections together; beyond it, it ends calls and connections, not
// always those that hold the most. It compares a message with its limit only when it is whole, so
// that this is what one client with a message without end can fill. Calls that are served leave it
// as soon as their request is read: it is room for many of the largest requests at once. It must
// not be small: with 256 MiB one of 64 clients that come at once was turned away in every seventh
// run.
constexpr int64_t kBufferBytesMin = int64_t{512} << 20;
constexpr int64_t kBufferedMessages = 4;  // Where messages may be larger than usual.

size_t BufferBytesMax(int64_t message_bytes_max) {
  return static_cast<size_t>(std::max(kBufferBytesMin, kBufferedMessages * message_bytes_max));
}

void SetChannelArguments(const GrpcServerOptions& options, grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(static_cast<int>(options.message_bytes_max));
  builder->SetMaxSendMessageSize(-1);  // Answers are bounded by the context and the field limits.
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsPerConnectionMax);
  builder->AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMetadataBytesMax);
  // Else a second server on the same port would silently take half of the connections.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // A gateway may ping every 10 s, also while nothing is asked.
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // A peer that vanished without a word is noticed, and its requests cancelled.
  const auto peer_ms = static_cast<int>(absl::ToInt64Milliseconds(options.peer_timeout));
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, peer_ms / 5 * 3);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, peer_ms / 5 * 2);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeTimeoutMs);
  builder->SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
  builder->SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, 1);
  builder->SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 1);
  grpc::ResourceQuota quota("ebb");
  quota.Resize(BufferBytesMax(options.message_bytes_max)).SetMaxThreads(kSyncThreadsMax);
  builder->SetResourceQuota(quota);
}

absl::Status CannotListen(const ListenAddress& address) {
  if (!address.unix_path.empty()) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", address.ToString(),
                     ": another process listens there, or the directory is not this user's; choose "
                     "another path"));
  }
  return absl::UnavailableError(
      absl::StrCat("cannot listen on ", address.ToString(),
                   ": the address is not this machine's, or another process listens there; choose "
                   "another with --listen ADDR:PORT (port 0 takes a free one)"));
}

// Whether somebody takes connections at a Unix socket. gRPC replaces whatever socket it finds,
// which is right for what a server that was killed leaves, and takes a running one's clients away.
bool IsListenedOn(const std::string& path) {
  sockaddr_un where = {};
  where.sun_family = AF_UNIX;
  if (path.size() >= sizeof(where.sun_path)) return false;
  path.copy(where.sun_path, path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return false;
  const bool taken =
      connect(fd, reinterpret_cast<const sockaddr*>(&where), sizeof(where)) == 0 || errno == EAGAIN;
  close(fd);
  return taken;
}

// Linking reflection is enough for every server of the process to have it.
class WithoutReflection final : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments*) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    const auto is_reflection = [](const std::unique_ptr<grpc::ServerBuilderPlugin>& plugin) {
      return dynamic_cast<grpc::reflection::ProtoServerReflectionPlugin*>(plugin.get()) != nullptr;
    };
    plugins->erase(std::remove_if(plugins->begin(), plugins->end(), is_reflection), plugins->end());
  }
};

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(
    const GrpcServerOptions& options, const std::vector<NamedService>& services) {
  // gRPC's own switches, for every server of the process; both may be repeated.
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();

  grpc::ServerBuilder builder;
  SetChannelArguments(options, &builder);
  if (!options.reflection) builder.SetOption(std::make_unique<WithoutReflection>());
  int port = 0;
  std::unique_ptr<GrpcServer> server(new GrpcServer());
  // What passes a Unix socket leaves no machine: nobody can read it.
  const bool is_unix = !options.listen.unix_path.empty();
  if (is_unix && IsListenedOn(options.listen.unix_path)) return CannotListen(options.listen);
  server->credentials_ = options.tls == nullptr || is_unix ? grpc::InsecureServerCredentials()
                                                           : TlsCredentials(options.tls);
  builder.AddListeningPort(options.listen.ToString(), server->credentials_, &port);
  for (const NamedService& named : services) builder.RegisterService(named.service);

  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr || port == 0) {
    return CannotListen(options.listen);
  }
  server->address_ = options.listen;
  if (!is_unix) server->address_.port = port;
  grpc::HealthCheckServiceInterface* const health = server->server_->GetHealthCheckService();
  for (const NamedService& named : services) health->SetServingStatus(named.name, true);
  health->SetServingStatus(true);
  return server;
}

GrpcServer::~GrpcServer() { Shutdown(absl::ZeroDuration()); }

void GrpcServer::SetServing(bool serving) {
  CHECK(server_ != nullptr);
  server_->GetHealthCheckService()->SetServingStatus(serving);
}

void GrpcServer::Shutdown(absl::Duration flush) {
  if (server_ == nullptr) return;
  server_->Shutdown(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(flush));
  server_->Wait();
  server_.reset();
}

}  // namespace ebb::server
