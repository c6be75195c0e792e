// The HTTP port with TLS: who gets in, what each sees, and what a wrong start ends in.
#include <string>
#include <vector>

#include "base/clock_fake.h"
#include "server/tls_files.h"
#include "tests/server/http/http_fixture.h"
#include "tests/server/tls/test_authority.h"
#include "tests/server/tls/tls_http_client.h"

namespace ebb::server {
namespace {

using tests::CertifiedKey;
using tests::HttpAnswer;
using tests::TlsHttpClient;
using tests::WaitUntil;

class HttpTlsTest : public HttpTest {
 protected:
  HttpTlsTest() {
    paths_.Write(authority_.Issue("first"));
    paths_.WriteClientCa(clients_.pem());
  }
  ~HttpTlsTest() override { server_.reset(); }

  void Serve(bool asks_clients = false) {
    files_ = *TlsFiles::Open(
        {paths_.certificate, paths_.key, asks_clients ? paths_.client_ca : std::string()},
        &fake_clock_, &log_);
    options_.tls = files_.get();
    address();
  }
  std::unique_ptr<TlsHttpClient> ConnectTls(const CertifiedKey& own = {}, int version_max = 0) {
    return std::make_unique<TlsHttpClient>(address(), authority_.pem(), own, version_max);
  }

  tests::TestAuthority authority_{"authority"};
  tests::TestAuthority clients_{"clients"};
  const tests::TlsTestFiles paths_{"http"};
  base::FakeClock fake_clock_;
  std::unique_ptr<TlsFiles> files_;
};

TEST_F(HttpTlsTest, ServesRequestAfterRequest) {
  Serve();
  Answers("hello");
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    const auto client = ConnectTls({}, version);
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(client->Get("/health/live").status, 200) << client->problem();
      const HttpAnswer answer =
          client->Post("/v1/completions", R"({"prompt":"hi","max_tokens":5,"stream":true})");
      ASSERT_EQ(answer.status, 200) << answer.body;
      EXPECT_EQ(answer.Events().back(), "[DONE]");
    }
  }
}

// Longer than one record of TLS, both ways.
TEST_F(HttpTlsTest, CarriesLongTexts) {
  Serve();
  const std::string text(200'000, 'a');
  const HttpAnswer answer = ConnectTls()->Post("/tokenize", R"({"prompt":")" + text + R"("})");
  ASSERT_EQ(answer.status, 200) << answer.body.substr(0, 200);
  EXPECT_EQ(answer.Json()["count"], 200'000);
}

TEST_F(HttpTlsTest, TheEndIsAnnounced) {
  Serve();
  const auto client = ConnectTls();
  ASSERT_TRUE(client->Send("GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
  EXPECT_EQ(client->Read().status, 200);
  EXPECT_TRUE(client->ReadsEnd()) << client->problem();
}

TEST_F(HttpTlsTest, OldVersionsAreRefused) {
  Serve();
  EXPECT_FALSE(ConnectTls({}, TLS1_1_VERSION)->connected());
}

TEST_F(HttpTlsTest, AClientThatBelievesAnotherAuthorityLeaves) {
  Serve();
  const TlsHttpClient client(address(), clients_.pem());
  EXPECT_FALSE(client.connected());
  EXPECT_EQ(client.problem(), "certificate verify failed");
  EXPECT_TRUE(WaitUntil([&] { return server_->connection_count() == 0; }));
}

TEST_F(HttpTlsTest, ClientsMustShowACertificateOfTheAuthority) {
  Serve(/*asks_clients=*/true);
  EXPECT_EQ(ConnectTls(clients_.Issue("anna"))->Get("/version").status, 200);
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    EXPECT_EQ(ConnectTls({}, version)->Get("/health/live").status, 0) << "no certificate";
    // Of the wrong authority: the one that vouches for the server.
    EXPECT_EQ(ConnectTls(authority_.Issue("bert"), version)->Get("/version").status, 0);
  }
  EXPECT_TRUE(WaitUntil([&] { return server_->connection_count() == 0; }));
}

TEST_F(HttpTlsTest, CertificatesOutOfTheirTimeOrOfANamesakeAreRefused) {
  Serve(/*asks_clients=*/true);
  tests::TestAuthority namesake("clients");
  const auto neighbour = ConnectTls(clients_.Issue("anna"));
  EXPECT_EQ(neighbour->Get("/version").status, 200);
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    for (const CertifiedKey& own :
         {clients_.Issue("expired", -2, -1), clients_.Issue("not yet valid", 1, 2),
          namesake.Issue("anna"), CertifiedKey{namesake.pem(), namesake.key_pem()}}) {
      EXPECT_EQ(ConnectTls(own, version)->Get("/version").status, 0);
      EXPECT_EQ(neighbour->Get("/version").status, 200) << "others go on";
    }
  }
  EXPECT_EQ(ConnectTls(clients_.Issue("anna"))->Get("/version").status, 200);
  EXPECT_TRUE(WaitUntil([&] { return server_->connection_count() == 1; }));
}

// A client that means to speak HTTP/2, or something else, is told so before it says anything.
TEST_F(HttpTlsTest, SpeaksHttp1InsideAndNothingElse) {
  Serve();
  const auto offering = [&](const std::vector<std::string>& protocols, int version) {
    return std::make_unique<TlsHttpClient>(address(), authority_.pem(), CertifiedKey{}, version,
                                           protocols);
  };
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    const auto both = offering({"h2", "http/1.1"}, version);
    EXPECT_EQ(both->protocol(), "http/1.1");
    EXPECT_EQ(both->Get("/version").status, 200);
    const auto silent = offering({}, version);
    EXPECT_EQ(silent->protocol(), "");
    EXPECT_EQ(silent->Get("/version").status, 200);
    for (const std::string only : {"h2", "grpc-exp", "ftp", "http/1.10"}) {
      const auto other = offering({only}, version);
      EXPECT_FALSE(other->connected()) << only;
      EXPECT_NE(other->problem().find("no application protocol"), std::string::npos)
          << other->problem();
    }
  }
  EXPECT_TRUE(WaitUntil([&] { return server_->connection_count() == 0; }));
}

TEST_F(HttpTlsTest, ANewPairServesNewConnections) {
  Serve();
  const auto old = ConnectTls();
  EXPECT_EQ(old->server_name(), "first");
  paths_.Write(authority_.Issue("second"));
  fake_clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(ConnectTls()->server_name(), "second");
  EXPECT_EQ(old->Get("/version").status, 200) << "what is open goes on";
  tests::ReplaceFile(paths_.key, "broken");
  fake_clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(ConnectTls()->server_name(), "second");
  EXPECT_EQ(log_.Of("tls_refused").size(), 1u);
}

TEST_F(HttpTlsTest, ANewClientAuthorityCounts) {
  Serve(/*asks_clients=*/true);
  tests::TestAuthority next("next");
  EXPECT_EQ(ConnectTls(next.Issue("anna"))->Get("/version").status, 0);
  paths_.WriteClientCa(next.pem());
  fake_clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(ConnectTls(next.Issue("anna"))->Get("/version").status, 200);
  EXPECT_EQ(ConnectTls(clients_.Issue("anna"))->Get("/version").status, 0);
}

TEST_F(HttpTlsTest, PlainHttpIsToldSo) {
  Serve();
  const auto client = Connect();
  const HttpAnswer answer = client->Get("/version");
  EXPECT_EQ(answer.status, 400);
  EXPECT_NE(answer.body.find("https://"), std::string::npos) << answer.body;
  EXPECT_TRUE(client->ReadsEnd());
}

TEST_F(HttpTlsTest, WhatIsNoHandshakeEnds) {
  Serve();
  const auto client = Connect();
  ASSERT_TRUE(client->Send(std::string(100, 'x')));
  EXPECT_EQ(client->Read().status, 0);
  EXPECT_TRUE(WaitUntil([&] { return server_->connection_count() == 0; }));
}

// A connection counts from its start, and a handshake that does not come has its time.
TEST_F(HttpTlsTest, SlowHandshakesCountAndEnd) {
  options_.connections_max = 2;
  options_.handshake_timeout = absl::Milliseconds(50);
  options_.idle_timeout = absl::Hours(1);
  Serve();
  const auto done = ConnectTls();
  const auto silent = Connect();
  EXPECT_TRUE(silent->ReadsEnd());
  EXPECT_EQ(done->Get("/version").status, 200) << "its time is another";
}

TEST_F(HttpTlsTest, TooManyConnectionsAreClosed) {
  options_.connections_max = 2;
  options_.handshake_timeout = absl::Hours(1);
  Serve();
  const auto silent = Connect();
  const auto open = ConnectTls();
  EXPECT_EQ(open->Get("/version").status, 200);
  EXPECT_FALSE(ConnectTls()->connected()) << "one that is silent counts";
  silent->Close();
  EXPECT_TRUE(WaitUntil([&] { return ConnectTls()->Get("/version").status == 200; }));
}

TEST_F(HttpTlsTest, ShutdownEndsAll) {
  Serve();
  const auto handshaking = Connect();
  const auto idle = ConnectTls();
  EXPECT_EQ(idle->Get("/version").status, 200);
  server_->Shutdown(absl::ZeroDuration());
  EXPECT_EQ(server_->connection_count(), 0u);
}

}  // namespace
}  // namespace ebb::server
