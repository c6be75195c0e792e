// TestAuthority: certificates made for a test, and files for them.
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

namespace ebb::tests {

struct CertifiedKey {
  std::string certificate_pem;
  std::string key_pem;
};

// A root that signs certificates for 127.0.0.1 and localhost.
class TestAuthority {
 public:
  explicit TestAuthority(const std::string& name);

  const std::string& pem() const { return pem_; }
  // Of its own certificate.
  const std::string& key_pem() const { return key_pem_; }
  // Valid since yesterday and until tomorrow, or from and to these days from now.
  CertifiedKey Issue(const std::string& common_name, int from_days = -1, int to_days = 1);

 private:
  std::shared_ptr<EVP_PKEY> key_;
  std::shared_ptr<X509> certificate_;
  std::string pem_;
  std::string key_pem_;
  long next_serial_ = 2;
};

// The same key, for whoever has the password.
std::string EncryptedKey(const std::string& key_pem, const std::string& password);

// Files in a directory of the test's own.
struct TlsTestFiles {
  explicit TlsTestFiles(const std::string& name);
  // New files in the old ones' places, as whoever rotates them does.
  void Write(const CertifiedKey& pair) const;
  void WriteClientCa(const std::string& pem) const;

  const std::string certificate;
  const std::string key;
  const std::string client_ca;
};

// `text` in a new file that takes the place of the one at `path`.
void ReplaceFile(const std::string& path, const std::string& text, int mode = 0600);

}  // namespace ebb::tests
