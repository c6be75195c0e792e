// The real server with TLS on both ports, asked by the real command line client.
#include <sys/wait.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/log_schema.h"
#include "tests/e2e/server_process.h"
#include "tests/server/tls/test_authority.h"
#include "tests/server/tls/tls_http_client.h"
#include "tests/server/wait_until.h"

namespace ebb::tests {
namespace {

using ::testing::HasSubstr;

struct Ended {
  int code = 0;
  std::string output;  // Of both kinds.
};

// `VARIABLES cli/ebb WORDS`.
Ended RunEbb(const std::string& words, const std::string& variables = "") {
  const std::string command = variables + " cli/ebb " + words + " 2>&1";
  FILE* const pipe = popen(command.c_str(), "r");
  Ended ended;
  char bytes[4096];
  for (size_t n = 0; (n = fread(bytes, 1, sizeof(bytes), pipe)) > 0;) ended.output.append(bytes, n);
  const int status = pclose(pipe);
  ended.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return ended;
}

std::vector<std::string> Arguments(const std::vector<std::string>& sets) {
  std::vector<std::string> arguments = {"--config",          "configs/cpu.json", "--model",
                                        "random:tiny-llama", "--listen",         "127.0.0.1:0"};
  for (const std::string& set : sets) {
    arguments.push_back("--set");
    arguments.push_back(set);
  }
  return arguments;
}

class TlsTest : public testing::Test {
 protected:
  TlsTest() {
    files_.Write(authority_.Issue("first"));
    files_.WriteClientCa(clients_.pem());
    ReplaceFile(ca_, authority_.pem());
    own_.Write(anna_);
  }
  std::vector<std::string> Sets(bool asks_clients) const {
    std::vector<std::string> sets = {"security.tls_certificate_file=" + files_.certificate,
                                     "security.tls_key_file=" + files_.key};
    if (asks_clients) sets.push_back("security.tls_client_ca_file=" + files_.client_ca);
    return sets;
  }
  void Start(bool asks_clients) {
    server_ = std::make_unique<ServerProcess>(Arguments(Sets(asks_clients)));
    const nlohmann::json ready = server_->WaitForEvent("ready");
    ASSERT_FALSE(ready.is_null()) << server_->errors();
    address_ = ready.at("address").get<std::string>();
    http_address_ = ready.at("http_address").get<std::string>();
  }

  TestAuthority authority_{"authority"};
  TestAuthority clients_{"clients"};
  const CertifiedKey anna_ = clients_.Issue("anna");
  const TlsTestFiles files_{"server"};
  const TlsTestFiles own_{"anna"};
  const std::string ca_ = testing::TempDir() + "/authority.crt";
  std::unique_ptr<ServerProcess> server_;
  std::string address_;
  std::string http_address_;
};

TEST_F(TlsTest, BothPortsAndTheCommandLine) {
  Start(/*asks_clients=*/false);
  EXPECT_EQ(TlsHttpClient(http_address_, authority_.pem()).Get("/health").status, 200);
  const std::string to = "--address " + address_;
  const Ended memory = RunEbb(to + " --tls-ca " + ca_ + " memory");
  EXPECT_EQ(memory.code, 0) << memory.output;
  EXPECT_EQ(RunEbb(to + " health", "EBB_TLS_CA=" + ca_).code, 0);
  const Ended plain = RunEbb(to + " health");
  EXPECT_EQ(plain.code, 3);
  EXPECT_THAT(plain.output, HasSubstr("--tls-ca"));
  const Ended other = RunEbb(to + " --tls-ca " + files_.client_ca + " health");
  EXPECT_EQ(other.code, 3);
  EXPECT_THAT(other.output, HasSubstr("certificate verify failed"));
}

TEST_F(TlsTest, ClientsShowTheirCertificates) {
  Start(/*asks_clients=*/true);
  const std::string to = "--address " + address_ + " --tls-ca " + ca_;
  const std::string own = " --tls-certificate " + own_.certificate + " --tls-key " + own_.key;
  const Ended with = RunEbb(to + own + " health");
  EXPECT_EQ(with.code, 0) << with.output;
  EXPECT_EQ(RunEbb(to + " health").code, 3);
  EXPECT_EQ(TlsHttpClient(http_address_, authority_.pem(), anna_).Get("/version").status, 200);
  EXPECT_EQ(TlsHttpClient(http_address_, authority_.pem()).Get("/health/live").status, 0);
}

TEST_F(TlsTest, ANewPairIsTakenUp) {
  Start(/*asks_clients=*/false);
  const auto name = [this] { return TlsHttpClient(http_address_, authority_.pem()).server_name(); };
  EXPECT_EQ(name(), "first");
  files_.Write(authority_.Issue("second"));
  EXPECT_TRUE(WaitUntil([&] { return name() == "second"; }, ServerProcess::kLimit));
  EXPECT_FALSE(server_->WaitForEvent("tls_read").is_null());
  EXPECT_EQ(server_->Lines("tls_read").size(), 1u);
  ExpectLogFitsSchema(*server_);
}

TEST_F(TlsTest, ClientCertificatesAreEnoughBeyondThisMachine) {
  std::vector<std::string> sets = Sets(/*asks_clients=*/true);
  sets.push_back("server.http_listen=0.0.0.0:0");
  ServerProcess server(Arguments(sets));
  EXPECT_FALSE(server.WaitForEvent("ready").is_null()) << server.errors();
  EXPECT_EQ(server.Lines("warning").size(), 0u) << server.output();
  sets = Sets(/*asks_clients=*/false);
  sets.push_back("server.http_listen=0.0.0.0:0");
  ServerProcess open(Arguments(sets));
  EXPECT_EQ(open.Wait(), 78);
  EXPECT_THAT(open.errors(), HasSubstr("security.tls_client_ca_file"));
}

TEST_F(TlsTest, WrongFilesEndWith78) {
  ReplaceFile(files_.key, anna_.key_pem);
  ServerProcess server(Arguments(Sets(/*asks_clients=*/false)));
  EXPECT_EQ(server.Wait(), 78);
  EXPECT_THAT(server.errors(), HasSubstr("is not the key of"));
}

}  // namespace
}  // namespace ebb::tests
