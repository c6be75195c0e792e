#include "server/tls_files.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace ebb::server {
namespace {

constexpr absl::string_view kCertificateSetting = "security.tls_certificate_file";
constexpr absl::string_view kKeySetting = "security.tls_key_file";
constexpr absl::string_view kClientCaSetting = "security.tls_client_ca_file";
// Of TLS 1.2; those of 1.3 are all good.
constexpr char kCiphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20";
// Sessions that are resumed belong to one context; OpenSSL wants a name where clients are asked.
constexpr unsigned char kSessionContext[] = "ebb";

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};

// What OpenSSL says of its last failure.
std::string Reason() {
  const char* const reason = ERR_reason_error_string(ERR_peek_last_error());
  std::string text = reason == nullptr ? "unknown error" : reason;
  ERR_clear_error();
  return text;
}

std::unique_ptr<BIO, Free> Reader(const std::string& pem) {
  std::unique_ptr<BIO, Free> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  CHECK(bio != nullptr);
  return bio;
}

absl::StatusOr<std::vector<std::unique_ptr<X509, Free>>> ReadCertificates(absl::string_view setting,
                                                                          const std::string& path,
                                                                          const std::string& pem) {
  const auto bio = Reader(pem);
  std::vector<std::unique_ptr<X509, Free>> certificates;
  while (X509* const next = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    certificates.emplace_back(next);
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (!at_end) return BadFile(setting, path, absl::StrCat("is not valid PEM: ", Reason()));
  ERR_clear_error();
  if (certificates.empty()) {
    return BadFile(setting, path, "holds no certificate; PEM with BEGIN CERTIFICATE is read");
  }
  return certificates;
}

absl::Status UseCertificate(const TlsPaths& paths, const TlsIdentity& identity) {
  ASSIGN_OR_RETURN(const auto chain, ReadCertificates(kCertificateSetting, paths.certificate,
                                                      identity.certificate_pem));
  SSL_CTX* const context = identity.context.get();
  if (SSL_CTX_use_certificate(context, chain[0].get()) != 1) {
    return BadFile(kCertificateSetting, paths.certificate, Reason());
  }
  for (size_t i = 1; i < chain.size(); ++i) {
    CHECK_EQ(SSL_CTX_add1_chain_cert(context, chain[i].get()), 1);
  }
  return absl::OkStatus();
}

absl::Status UseKey(const TlsPaths& paths, const TlsIdentity& identity) {
  // Nobody is there who could be asked for a password.
  const auto no_password = [](char*, int, int, void*) { return -1; };
  const std::unique_ptr<EVP_PKEY, Free> key(
      PEM_read_bio_PrivateKey(Reader(identity.key_pem).get(), nullptr, no_password, nullptr));
  if (key == nullptr) {
    return BadFile(kKeySetting, paths.key,
                   absl::StrCat("holds no key that can be read (", Reason(),
                                "); PEM without a password is read"));
  }
  SSL_CTX* const context = identity.context.get();
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
    return BadFile(kKeySetting, paths.key,
                   absl::StrCat("is not the key of ", paths.certificate, ": ", Reason()));
  }
  return absl::OkStatus();
}

absl::Status UseClientCa(const TlsPaths& paths, const TlsIdentity& identity) {
  ASSIGN_OR_RETURN(const auto authorities,
                   ReadCertificates(kClientCaSetting, paths.client_ca, identity.client_ca_pem));
  SSL_CTX* const context = identity.context.get();
  for (const auto& authority : authorities) {
    CHECK_EQ(X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.get()), 1);
    CHECK_EQ(SSL_CTX_add_client_CA(context, authority.get()), 1);
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return absl::OkStatus();
}

// Which protocol is spoken inside: HTTP/1.1, or what a client means that does not say. One that
// means another is turned away: it would take our bytes for something else (RFC 7301, 3.2).
int ChooseProtocol(SSL*, const unsigned char** chosen, unsigned char* chosen_bytes,
                   const unsigned char* offered, unsigned offered_bytes, void*) {
  constexpr absl::string_view kOurs("\x08http/1.1", 9);
  unsigned char* found = nullptr;
  const int result = SSL_select_next_proto(
      &found, chosen_bytes, reinterpret_cast<const unsigned char*>(kOurs.data()),
      static_cast<unsigned>(kOurs.size()), offered, offered_bytes);
  *chosen = found;
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

std::shared_ptr<SSL_CTX> NewContext() {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  CHECK(context != nullptr);
  CHECK_EQ(SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION), 1);
  CHECK_EQ(SSL_CTX_set_cipher_list(context.get(), kCiphers), 1);
  CHECK_EQ(
      SSL_CTX_set_session_id_context(context.get(), kSessionContext, sizeof(kSessionContext) - 1),
      1);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_alpn_select_cb(context.get(), ChooseProtocol, nullptr);
  return context;
}

}  // namespace

TlsFiles::TlsFiles(TlsPaths paths, const base::Clock* clock, base::Log* log)
    : paths_(std::move(paths)),
      log_(log),
      watch_({paths_.certificate, paths_.key, paths_.client_ca}, clock) {}

absl::StatusOr<std::unique_ptr<TlsFiles>> TlsFiles::Open(const TlsPaths& paths,
                                                         const base::Clock* clock, base::Log* log) {
  std::unique_ptr<TlsFiles> files(new TlsFiles(paths, clock, log));
  ASSIGN_OR_RETURN(std::shared_ptr<TlsIdentity> first, Read(paths));
  first->number = 1;
  base::MutexLock lock(&files->mutex_);
  files->current_ = std::move(first);
  return files;
}

absl::StatusOr<std::shared_ptr<TlsIdentity>> TlsFiles::Read(const TlsPaths& paths) {
  auto identity = std::make_shared<TlsIdentity>();
  ERR_clear_error();
  identity->context = NewContext();
  ASSIGN_OR_RETURN(identity->certificate_pem,
                   ReadWatchedFile(kCertificateSetting, paths.certificate, FileReaders::kAnybody));
  ASSIGN_OR_RETURN(identity->key_pem,
                   ReadWatchedFile(kKeySetting, paths.key, FileReaders::kNotEverybody));
  RETURN_IF_ERROR(UseCertificate(paths, *identity));
  RETURN_IF_ERROR(UseKey(paths, *identity));
  if (!paths.client_ca.empty()) {
    ASSIGN_OR_RETURN(identity->client_ca_pem,
                     ReadWatchedFile(kClientCaSetting, paths.client_ca, FileReaders::kAnybody));
    RETURN_IF_ERROR(UseClientCa(paths, *identity));
  }
  return identity;
}

std::shared_ptr<const TlsIdentity> TlsFiles::Current() {
  base::MutexLock lock(&mutex_);
  if (!watch_.Changed()) return current_;
  absl::StatusOr<std::shared_ptr<TlsIdentity>> next = Read(paths_);
  if (next.ok()) {
    (*next)->number = current_->number + 1;
    current_ = *std::move(next);
    log_->Write("tls_read", {{"certificate", paths_.certificate}});
  } else {
    log_->Write("tls_refused", {{"message", std::string(next.status().message())}});
  }
  return current_;
}

}  // namespace ebb::server
