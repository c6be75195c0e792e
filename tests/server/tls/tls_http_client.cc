#include "tests/server/tls/tls_http_client.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <csignal>

#include "base/check.h"

namespace ebb::tests {
namespace {

std::shared_ptr<BIO> Reader(const std::string& pem) {
  return {BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free};
}

std::shared_ptr<X509> ReadCertificate(const std::string& pem) {
  std::shared_ptr<X509> certificate(PEM_read_bio_X509(Reader(pem).get(), nullptr, nullptr, nullptr),
                                    X509_free);
  CHECK(certificate != nullptr);
  return certificate;
}

std::string Problem() {
  const char* const reason = ERR_reason_error_string(ERR_peek_last_error());
  return reason == nullptr ? "" : reason;
}

}  // namespace

TlsHttpClient::TlsHttpClient(const std::string& address, const std::string& ca_pem,
                             const CertifiedKey& own, int version_max,
                             const std::vector<std::string>& protocols)
    : HttpClient(address), context_(SSL_CTX_new(TLS_client_method()), SSL_CTX_free) {
  // OpenSSL writes to its socket as to a file: to one that the server has closed, too.
  std::signal(SIGPIPE, SIG_IGN);
  SSL_CTX* const context = context_.get();
  CHECK_EQ(X509_STORE_add_cert(SSL_CTX_get_cert_store(context), ReadCertificate(ca_pem).get()), 1);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  CHECK_EQ(SSL_CTX_set_max_proto_version(context, version_max), 1);
  // Old versions are offered, so that it is the server that refuses them.
  SSL_CTX_set_security_level(context, 0);
  CHECK_EQ(SSL_CTX_set_min_proto_version(context, TLS1_VERSION), 1);
  if (!own.key_pem.empty()) {
    const std::shared_ptr<EVP_PKEY> key(
        PEM_read_bio_PrivateKey(Reader(own.key_pem).get(), nullptr, nullptr, nullptr),
        EVP_PKEY_free);
    CHECK_EQ(SSL_CTX_use_certificate(context, ReadCertificate(own.certificate_pem).get()), 1);
    CHECK_EQ(SSL_CTX_use_PrivateKey(context, key.get()), 1);
  }
  ssl_ = std::shared_ptr<SSL>(SSL_new(context), SSL_free);
  CHECK_EQ(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), "127.0.0.1"), 1);
  std::string offer;  // RFC 7301: each with its length.
  for (const std::string& protocol : protocols) {
    offer += static_cast<char>(protocol.size()) + protocol;
  }
  // 0 is success, here.
  CHECK_EQ(SSL_set_alpn_protos(ssl_.get(), reinterpret_cast<const unsigned char*>(offer.data()),
                               static_cast<unsigned>(offer.size())),
           0);
  CHECK_EQ(SSL_set_fd(ssl_.get(), fd()), 1);
  ERR_clear_error();
  connected_ = SSL_connect(ssl_.get()) == 1;
  if (!connected_) problem_ = Problem();
}

std::string TlsHttpClient::server_name() const {
  const std::shared_ptr<X509> certificate(SSL_get1_peer_certificate(ssl_.get()), X509_free);
  if (certificate == nullptr) return "";
  char name[256] = {};
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate.get()), NID_commonName, name,
                            sizeof(name));
  return name;
}

std::string TlsHttpClient::protocol() const {
  const unsigned char* chosen = nullptr;
  unsigned bytes = 0;
  SSL_get0_alpn_selected(ssl_.get(), &chosen, &bytes);
  return std::string(reinterpret_cast<const char*>(chosen), bytes);
}

ssize_t TlsHttpClient::Put(const char* bytes, size_t count) {
  if (!connected_) return -1;
  ERR_clear_error();
  const int n = SSL_write(ssl_.get(), bytes, static_cast<int>(count));
  if (n <= 0) problem_ = Problem();
  return n;
}

// 0 only for an end that the server has announced.
ssize_t TlsHttpClient::Take(char* bytes, size_t count) {
  if (!connected_) return -1;
  ERR_clear_error();
  const int n = SSL_read(ssl_.get(), bytes, static_cast<int>(count));
  if (n > 0) return n;
  if (SSL_get_error(ssl_.get(), n) == SSL_ERROR_ZERO_RETURN) return 0;
  problem_ = Problem();
  return -1;
}

}  // namespace ebb::tests
