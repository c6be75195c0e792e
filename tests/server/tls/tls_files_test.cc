// Certificates and keys: what is taken, what is refused, and how files replace each other.
#include "server/tls_files.h"

#include <string>

#include "base/clock_fake.h"
#include "gtest/gtest.h"
#include "tests/server/keep_log.h"
#include "tests/server/tls/test_authority.h"

namespace ebb::server {
namespace {

using tests::CertifiedKey;
using tests::ReplaceFile;

class TlsFilesTest : public testing::Test {
 protected:
  TlsFilesTest() {
    files_.Write(first_);
    files_.WriteClientCa(authority_.pem());
  }
  absl::StatusOr<std::unique_ptr<TlsFiles>> Open(bool asks_clients = false) {
    return TlsFiles::Open(
        {files_.certificate, files_.key, asks_clients ? files_.client_ca : std::string()}, &clock_,
        &log_);
  }
  // What Open says, which must be a refusal that names `setting`.
  std::string Refusal(const std::string& setting, bool asks_clients = false) {
    const auto opened = Open(asks_clients);
    EXPECT_TRUE(absl::IsInvalidArgument(opened.status())) << opened.status();
    const std::string message(opened.status().message());
    EXPECT_EQ(message.rfind(setting + ": ", 0), 0u) << message;
    return message;
  }

  tests::TestAuthority authority_{"authority"};
  const CertifiedKey first_ = authority_.Issue("first");
  const CertifiedKey second_ = authority_.Issue("second");
  const tests::TlsTestFiles files_{"files"};
  base::FakeClock clock_;
  KeepLog log_;
};

TEST_F(TlsFilesTest, ReadsAPair) {
  const auto files = Open();
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_FALSE((*files)->asks_clients());
  const auto identity = (*files)->Current();
  EXPECT_EQ(identity->number, 1);
  EXPECT_EQ(identity->certificate_pem, first_.certificate_pem);
  EXPECT_EQ(identity->key_pem, first_.key_pem);
  EXPECT_EQ(SSL_CTX_get_verify_mode(identity->context.get()), SSL_VERIFY_NONE);
}

TEST_F(TlsFilesTest, AsksClients) {
  const auto files = Open(/*asks_clients=*/true);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_TRUE((*files)->asks_clients());
  EXPECT_EQ(SSL_CTX_get_verify_mode((*files)->Current()->context.get()),
            SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT);
}

TEST_F(TlsFilesTest, RefusesWhatCannotBeServed) {
  ReplaceFile(files_.key, first_.key_pem, 0644);
  EXPECT_NE(Refusal("security.tls_key_file").find("chmod o-r"), std::string::npos);
  ReplaceFile(files_.key, second_.key_pem);
  EXPECT_NE(Refusal("security.tls_key_file").find("is not the key of"), std::string::npos);
  ReplaceFile(files_.key, "");
  EXPECT_NE(Refusal("security.tls_key_file").find("holds no key"), std::string::npos);
  files_.Write(first_);
  ReplaceFile(files_.certificate, first_.key_pem);
  EXPECT_NE(Refusal("security.tls_certificate_file").find("holds no certificate"),
            std::string::npos);
  std::string torn = first_.certificate_pem;
  torn.resize(torn.size() / 2);
  ReplaceFile(files_.certificate, first_.certificate_pem + torn);
  EXPECT_NE(Refusal("security.tls_certificate_file").find("not valid PEM"), std::string::npos);
  files_.Write(first_);
  ReplaceFile(files_.client_ca, "");
  EXPECT_NE(Refusal("security.tls_client_ca_file", true).find("holds no certificate"),
            std::string::npos);
  EXPECT_TRUE(absl::IsInvalidArgument(
      TlsFiles::Open({"/nowhere/crt", files_.key, ""}, &clock_, &log_).status()));
}

TEST_F(TlsFilesTest, RefusesAKeyWithAPassword) {
  ReplaceFile(files_.key, tests::EncryptedKey(first_.key_pem, "secret"));
  EXPECT_NE(Refusal("security.tls_key_file").find("without a password"), std::string::npos);
}

TEST_F(TlsFilesTest, TakesUpAChangedPair) {
  const auto files = *Open();
  const auto before = files->Current();
  files_.Write(second_);
  EXPECT_EQ(files->Current(), before) << "looked again within a second";
  clock_.Advance(absl::Seconds(1));
  const auto after = files->Current();
  EXPECT_EQ(after->number, 2);
  EXPECT_EQ(after->certificate_pem, second_.certificate_pem);
  EXPECT_EQ(log_.Of("tls_read").size(), 1u);
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(files->Current(), after);
}

TEST_F(TlsFilesTest, AHalfReplacedPairChangesNothing) {
  const auto files = *Open();
  ReplaceFile(files_.certificate, second_.certificate_pem);
  for (int i = 0; i < 3; ++i) {
    clock_.Advance(absl::Seconds(2));
    EXPECT_EQ(files->Current()->number, 1);
  }
  EXPECT_EQ(log_.Of("tls_refused").size(), 1u) << "once for each version of the files";
  ReplaceFile(files_.key, second_.key_pem);
  clock_.Advance(absl::Seconds(2));
  EXPECT_EQ(files->Current()->certificate_pem, second_.certificate_pem);
}

}  // namespace
}  // namespace ebb::server
