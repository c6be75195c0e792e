// The gRPC port with TLS: who gets in, and which pair each connection sees.
#include "server/grpc_tls.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock_fake.h"
#include "cli/connection.h"
#include "cli/health.h"
#include "gtest/gtest.h"
#include "server/grpc_server.h"
#include "tests/server/http/http_client.h"
#include "tests/server/keep_log.h"
#include "tests/server/tls/test_authority.h"
#include "tests/server/tls/tls_http_client.h"

namespace ebb::server {
namespace {

using tests::CertifiedKey;
using tests::TlsHttpClient;

class GrpcTlsTest : public testing::Test {
 protected:
  GrpcTlsTest() {
    paths_.Write(authority_.Issue("first"));
    paths_.WriteClientCa(clients_.pem());
  }
  ~GrpcTlsTest() override { server_.reset(); }

  void Serve(bool asks_clients = false) {
    files_ = *TlsFiles::Open(
        {paths_.certificate, paths_.key, asks_clients ? paths_.client_ca : std::string()}, &clock_,
        &log_);
    GrpcServerOptions options;
    options.listen = *ParseListenAddress("127.0.0.1:0");
    options.tls = files_.get();
    server_ = *GrpcServer::Start(options, {});
    address_ = server_->address().ToString();
  }
  // Whether the command line's connection gets an answer; it has a connection of its own.
  bool Asks(const std::string& ca_pem, const CertifiedKey& own = {}) {
    cli::Credentials credentials;
    credentials.ca_pem = ca_pem;
    credentials.certificate_pem = own.certificate_pem;
    credentials.key_pem = own.key_pem;
    const cli::Connection connection(address_, credentials);
    grpc::ClientContext context;
    std::string answer;
    const grpc::Status status = cli::CheckHealth(connection, &context, &answer);
    problem_ = status.error_message();
    return status.ok() && answer == "SERVING";
  }
  // The name of the server's certificate, as a connection of its own sees it.
  std::string ServerName() { return TlsHttpClient(address_, authority_.pem()).server_name(); }

  tests::TestAuthority authority_{"authority"};
  tests::TestAuthority clients_{"clients"};
  const tests::TlsTestFiles paths_{"grpc"};
  base::FakeClock clock_;
  KeepLog log_;
  std::unique_ptr<TlsFiles> files_;
  std::unique_ptr<GrpcServer> server_;
  std::string address_;
  std::string problem_;
};

TEST_F(GrpcTlsTest, ServesWhoBelievesItsAuthority) {
  Serve();
  EXPECT_TRUE(Asks(authority_.pem())) << problem_;
  EXPECT_FALSE(Asks(clients_.pem()));
  EXPECT_NE(problem_.find("certificate verify failed"), std::string::npos) << problem_;
}

TEST_F(GrpcTlsTest, PlainConnectionsAreRefused) {
  Serve();
  EXPECT_FALSE(Asks(""));
  tests::HttpClient plain(address_);
  EXPECT_EQ(plain.Get("/").status, 0) << "it ends without an answer";
  EXPECT_TRUE(Asks(authority_.pem())) << problem_;
}

TEST_F(GrpcTlsTest, OldVersionsAreRefused) {
  Serve();
  EXPECT_FALSE(TlsHttpClient(address_, authority_.pem(), {}, TLS1_1_VERSION).connected());
}

TEST_F(GrpcTlsTest, ClientsMustShowACertificateOfTheAuthority) {
  Serve(/*asks_clients=*/true);
  EXPECT_TRUE(Asks(authority_.pem(), clients_.Issue("anna"))) << problem_;
  EXPECT_FALSE(Asks(authority_.pem())) << "no certificate";
  EXPECT_FALSE(Asks(authority_.pem(), authority_.Issue("bert"))) << "of the wrong authority";
}

TEST_F(GrpcTlsTest, CertificatesOutOfTheirTimeOrOfANamesakeAreRefused) {
  Serve(/*asks_clients=*/true);
  tests::TestAuthority namesake("clients");
  EXPECT_FALSE(Asks(authority_.pem(), clients_.Issue("expired", -2, -1)));
  EXPECT_FALSE(Asks(authority_.pem(), clients_.Issue("not yet valid", 1, 2)));
  EXPECT_FALSE(Asks(authority_.pem(), namesake.Issue("anna")));
  EXPECT_FALSE(Asks(authority_.pem(), {namesake.pem(), namesake.key_pem()}));
  EXPECT_TRUE(Asks(authority_.pem(), clients_.Issue("anna"))) << problem_;
}

TEST_F(GrpcTlsTest, SpeaksHttp2InsideAndNothingElse) {
  Serve();
  const auto offering = [&](const std::vector<std::string>& protocols) {
    return std::make_unique<TlsHttpClient>(address_, authority_.pem(), CertifiedKey{}, 0,
                                           protocols);
  };
  EXPECT_EQ(offering({"http/1.1", "h2"})->protocol(), "h2");
  for (const std::vector<std::string>& other :
       {std::vector<std::string>{"http/1.1"}, {"ftp"}, {"h2c"}, {}}) {
    const auto client = offering(other);
    EXPECT_EQ(client->protocol(), "");
    EXPECT_EQ(client->Get("/").status, 0) << "it ends without an answer";
  }
  EXPECT_TRUE(Asks(authority_.pem())) << problem_;
}

TEST_F(GrpcTlsTest, ANewPairServesNewConnections) {
  Serve();
  const cli::Connection old = [this] {
    cli::Credentials credentials;
    credentials.ca_pem = authority_.pem();
    return cli::Connection(address_, credentials);
  }();
  grpc::ClientContext context;
  std::string answer;
  ASSERT_TRUE(cli::CheckHealth(old, &context, &answer).ok());
  EXPECT_EQ(ServerName(), "first");
  paths_.Write(authority_.Issue("second"));
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(ServerName(), "second");
  EXPECT_TRUE(Asks(authority_.pem())) << problem_;
  grpc::ClientContext again;
  EXPECT_TRUE(cli::CheckHealth(old, &again, &answer).ok()) << "what is open goes on";
  tests::ReplaceFile(paths_.key, "broken");
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(ServerName(), "second");
  EXPECT_EQ(log_.Of("tls_refused").size(), 1u);
}

TEST_F(GrpcTlsTest, ANewClientAuthorityCounts) {
  Serve(/*asks_clients=*/true);
  tests::TestAuthority next("next");
  EXPECT_FALSE(Asks(authority_.pem(), next.Issue("anna")));
  paths_.WriteClientCa(next.pem());
  clock_.Advance(absl::Seconds(1));
  EXPECT_TRUE(Asks(authority_.pem(), next.Issue("anna"))) << problem_;
  EXPECT_FALSE(Asks(authority_.pem(), clients_.Issue("anna")));
}

}  // namespace
}  // namespace ebb::server
