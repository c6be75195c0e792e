#include "tests/server/tls/test_authority.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <cstdio>
#include <fstream>

#include "base/check.h"
#include "gtest/gtest.h"

namespace ebb::tests {
namespace {

constexpr long kDaySeconds = 86400;

std::shared_ptr<EVP_PKEY> NewKey() {
  std::shared_ptr<EVP_PKEY> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  CHECK(key != nullptr);
  return key;
}

std::string Text(BIO* bio) {
  char* data = nullptr;
  const long bytes = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(bytes));
}

std::string PemOf(X509* certificate) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), BIO_free);
  CHECK_EQ(PEM_write_bio_X509(bio.get(), certificate), 1);
  return Text(bio.get());
}

// Encrypted where there is a password.
std::string PemOf(EVP_PKEY* key, const std::string& password = "") {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), BIO_free);
  CHECK_EQ(PEM_write_bio_PrivateKey(bio.get(), key, password.empty() ? nullptr : EVP_aes_256_cbc(),
                                    reinterpret_cast<const unsigned char*>(password.data()),
                                    static_cast<int>(password.size()), nullptr, nullptr),
           1);
  return Text(bio.get());
}

void AddExtension(X509* certificate, int id, const char* value) {
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, id, value);
  CHECK(extension != nullptr);
  CHECK_EQ(X509_add_ext(certificate, extension, -1), 1);
  X509_EXTENSION_free(extension);
}

// Signed by whoever calls.
std::shared_ptr<X509> NewCertificate(const std::string& name, long serial, EVP_PKEY* key,
                                     const X509* issuer, int from_days = -1, int to_days = 1) {
  std::shared_ptr<X509> certificate(X509_new(), X509_free);
  CHECK_EQ(X509_set_version(certificate.get(), X509_VERSION_3), 1);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), from_days * kDaySeconds);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), to_days * kDaySeconds);
  X509_NAME* const subject = X509_get_subject_name(certificate.get());
  CHECK_EQ(
      X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0),
      1);
  CHECK_EQ(X509_set_issuer_name(certificate.get(),
                                issuer == nullptr ? subject : X509_get_subject_name(issuer)),
           1);
  CHECK_EQ(X509_set_pubkey(certificate.get(), key), 1);
  AddExtension(certificate.get(), NID_basic_constraints,
               issuer == nullptr ? "critical,CA:TRUE" : "CA:FALSE");
  return certificate;
}

}  // namespace

TestAuthority::TestAuthority(const std::string& name)
    : key_(NewKey()), certificate_(NewCertificate(name, 1, key_.get(), nullptr)) {
  CHECK_GT(X509_sign(certificate_.get(), key_.get(), EVP_sha256()), 0);
  pem_ = PemOf(certificate_.get());
  key_pem_ = PemOf(key_.get());
}

CertifiedKey TestAuthority::Issue(const std::string& common_name, int from_days, int to_days) {
  const std::shared_ptr<EVP_PKEY> key = NewKey();
  const std::shared_ptr<X509> certificate = NewCertificate(common_name, next_serial_++, key.get(),
                                                           certificate_.get(), from_days, to_days);
  AddExtension(certificate.get(), NID_subject_alt_name, "IP:127.0.0.1,DNS:localhost");
  CHECK_GT(X509_sign(certificate.get(), key_.get(), EVP_sha256()), 0);
  return {PemOf(certificate.get()), PemOf(key.get())};
}

std::string EncryptedKey(const std::string& key_pem, const std::string& password) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(
      BIO_new_mem_buf(key_pem.data(), static_cast<int>(key_pem.size())), BIO_free);
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
  return PemOf(key.get(), password);
}

void ReplaceFile(const std::string& path, const std::string& text, int mode) {
  const std::string next = path + ".next";
  std::ofstream(next) << text;
  CHECK_EQ(chmod(next.c_str(), static_cast<mode_t>(mode)), 0);
  CHECK_EQ(std::rename(next.c_str(), path.c_str()), 0);
}

TlsTestFiles::TlsTestFiles(const std::string& name)
    : certificate(testing::TempDir() + "/" + name + ".crt"),
      key(testing::TempDir() + "/" + name + ".key"),
      client_ca(testing::TempDir() + "/" + name + ".ca") {}

void TlsTestFiles::Write(const CertifiedKey& pair) const {
  ReplaceFile(certificate, pair.certificate_pem);
  ReplaceFile(key, pair.key_pem);
}

void TlsTestFiles::WriteClientCa(const std::string& pem) const { ReplaceFile(client_ca, pem); }

}  // namespace ebb::tests
