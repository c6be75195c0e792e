// TlsHttpClient: an HttpClient that speaks TLS.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/server/http/http_client.h"
#include "tests/server/tls/test_authority.h"

namespace ebb::tests {

class TlsHttpClient final : public HttpClient {
 public:
  // Believes in `ca_pem`, and shows `own`, if it is not empty. `version_max`: of TLS; 0: any.
  // `protocols`: what it offers to speak inside (ALPN); none: it does not say.
  TlsHttpClient(const std::string& address, const std::string& ca_pem, const CertifiedKey& own = {},
                int version_max = 0, const std::vector<std::string>& protocols = {});

  // Whether there is a connection. (Of TLS 1.3 it is, before the server has judged the client.)
  bool connected() const { return connected_; }
  // What went wrong, in OpenSSL's words.
  const std::string& problem() const { return problem_; }
  // The common name of the server's certificate.
  std::string server_name() const;
  // What the server chose of what was offered.
  std::string protocol() const;

 private:
  ssize_t Put(const char* bytes, size_t count) override;
  ssize_t Take(char* bytes, size_t count) override;

  std::shared_ptr<SSL_CTX> context_;
  std::shared_ptr<SSL> ssl_;
  bool connected_ = false;
  std::string problem_;
};

}  // namespace ebb::tests
