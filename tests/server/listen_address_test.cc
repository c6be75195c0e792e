#include "server/listen_address.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>

#include "gtest/gtest.h"
#include "server/flags.h"
#include "server/grpc_server.h"
#include "tests/server/socket_directory.h"

namespace ebb::server {
namespace {

TEST(ListenAddressTest, TakesLiteralAddresses) {
  const auto v4 = ParseListenAddress("127.0.0.1:50051");
  ASSERT_TRUE(v4.ok());
  EXPECT_EQ(v4->host, "127.0.0.1");
  EXPECT_EQ(v4->port, 50051);
  EXPECT_TRUE(v4->is_loopback);
  EXPECT_EQ(v4->ToString(), "127.0.0.1:50051");
  EXPECT_EQ(ParseListenAddress("localhost:0")->ToString(), "127.0.0.1:0");
  EXPECT_TRUE(ParseListenAddress("127.9.9.9:1")->is_loopback);
  EXPECT_FALSE(ParseListenAddress("0.0.0.0:1")->is_loopback);
  EXPECT_FALSE(ParseListenAddress("10.0.0.1:1")->is_loopback);
  const auto v6 = ParseListenAddress("[::1]:65535");
  ASSERT_TRUE(v6.ok());
  EXPECT_TRUE(v6->is_loopback);
  EXPECT_EQ(v6->ToString(), "[::1]:65535");
  EXPECT_FALSE(ParseListenAddress("[::]:1")->is_loopback);
}

TEST(ListenAddressTest, RefusesTheRest) {
  for (const char* bad :
       {"", ":", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:+1",
        "127.0.0.1:1x", "127.0.0.1: 1", ":50051", "::1:50051", "[::1]", "example.com:1", "[]:1",
        "[127.0.0.1]:1", "unix:/x", "127.0.0.1:99999999999999999999"}) {
    EXPECT_EQ(ParseListenAddress(bad).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

TEST(ListenAddressTest, ControlTakesUnixSocketsToo) {
  const auto address = ParseControlAddress("unix:/run/ebb.sock");
  ASSERT_TRUE(address.ok()) << address.status();
  EXPECT_EQ(address->unix_path, "/run/ebb.sock");
  EXPECT_TRUE(address->is_loopback);
  EXPECT_EQ(address->ToString(), "unix:/run/ebb.sock");
  EXPECT_EQ(ParseControlAddress("127.0.0.1:5")->port, 5);
  EXPECT_TRUE(ParseControlAddress("unix:" + std::string(107, 'x')).ok());
  for (const std::string& bad :
       {std::string("unix:"), "unix:" + std::string(108, 'x'), std::string("example.com:1")}) {
    EXPECT_EQ(ParseControlAddress(bad).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

// gRPC alone would take the socket away from the first.
TEST(GrpcServerTest, ABusyUnixSocketIsAnError) {
  const tests::SocketDirectory directory;
  GrpcServerOptions options;
  options.listen = *ParseControlAddress("unix:" + directory.Path("socket"));
  const auto first = GrpcServer::Start(options, {});
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ((*first)->address().ToString(), options.listen.ToString());
  EXPECT_EQ(GrpcServer::Start(options, {}).status().code(), absl::StatusCode::kUnavailable);
  (*first)->Shutdown(absl::ZeroDuration());
  EXPECT_TRUE(GrpcServer::Start(options, {}).ok());
  options.listen = *ParseControlAddress("unix:" + directory.Path("no/such"));
  EXPECT_EQ(GrpcServer::Start(options, {}).status().code(), absl::StatusCode::kUnavailable);
}

// What a server that was killed leaves.
TEST(GrpcServerTest, AStaleUnixSocketIsReplaced) {
  const tests::SocketDirectory directory;
  const std::string path = directory.Path("socket");
  sockaddr_un where = {};
  where.sun_family = AF_UNIX;
  path.copy(where.sun_path, path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&where), sizeof(where)), 0);
  close(fd);
  GrpcServerOptions options;
  options.listen = *ParseControlAddress("unix:" + path);
  const auto server = GrpcServer::Start(options, {});
  EXPECT_TRUE(server.ok()) << server.status();
}

TEST(GrpcServerTest, ABusyPortIsAnError) {
  GrpcServerOptions options;
  options.listen = *ParseListenAddress("127.0.0.1:0");
  const auto first = GrpcServer::Start(options, {});
  ASSERT_TRUE(first.ok()) << first.status();
  options.listen.port = (*first)->address().port;
  EXPECT_GT(options.listen.port, 0);
  const auto second = GrpcServer::Start(options, {});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(second.status().message().find("--listen"), std::string::npos);
}

TEST(FlagsTest, TakesBothForms) {
  const auto flags = ParseFlags({"--config", "a.json", "--model=m.gguf", "--set", "x.y=1",
                                 "--set=z.w=a=b", "--listen", "127.0.0.1:0", "--print-config"});
  ASSERT_TRUE(flags.ok());
  EXPECT_EQ(flags->config, "a.json");
  EXPECT_EQ(flags->model, "m.gguf");
  EXPECT_EQ(flags->listen, "127.0.0.1:0");
  EXPECT_EQ(flags->sets, (std::vector<std::string>{"x.y=1", "z.w=a=b"}));
  EXPECT_TRUE(flags->print_config);
  EXPECT_FALSE(flags->check_config);
}

TEST(FlagsTest, RefusesWhatItDoesNotKnow) {
  for (const char* bad : {"--confg", "a.json", "--config", "--config=", "-v", "--check-config=1"}) {
    EXPECT_EQ(ParseFlags({bad}).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

}  // namespace
}  // namespace ebb::server
