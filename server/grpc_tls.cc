#include "server/grpc_tls.h"

#include <cstdint>
#include <string>

#include "base/check.h"
#include "grpc/grpc.h"
#include "grpc/grpc_security.h"

namespace ebb::server {
namespace {

// gRPC asks us for each connection what to serve it with. (Its own FileWatcherCertificateProvider
// does not check that a pair belongs together, and ends what it had before it tries the new one.)
class ReloadingCredentials final : public grpc::ServerCredentials {
 public:
  explicit ReloadingCredentials(TlsFiles* files) : files_(files) {
    credentials_ = grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(
            files->asks_clients() ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                  : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
            Fetch, this));
    CHECK(credentials_ != nullptr);
  }
  ~ReloadingCredentials() override { grpc_server_credentials_release(credentials_); }

  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {
    CHECK(false) << "tokens are asked for by the services";
  }

 private:
  // Called by gRPC under the lock of the port.
  static grpc_ssl_certificate_config_reload_status Fetch(
      void* self, grpc_ssl_server_certificate_config** config) {
    auto* const credentials = static_cast<ReloadingCredentials*>(self);
    const std::shared_ptr<const TlsIdentity> identity = credentials->files_->Current();
    if (identity->number == credentials->served_number_) {
      return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    }
    credentials->served_number_ = identity->number;
    const grpc_ssl_pem_key_cert_pair pair = {identity->key_pem.c_str(),
                                             identity->certificate_pem.c_str()};
    // gRPC wants authorities also where clients are asked for no certificate, and uses none then.
    const std::string& authorities =
        identity->client_ca_pem.empty() ? identity->certificate_pem : identity->client_ca_pem;
    *config = grpc_ssl_server_certificate_config_create(authorities.c_str(), &pair, 1);
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  TlsFiles* const files_;
  grpc_server_credentials* credentials_;
  int64_t served_number_ = 0;  // Of the identity that gRPC has.
};

}  // namespace

std::shared_ptr<grpc::ServerCredentials> TlsCredentials(TlsFiles* files) {
  return std::make_shared<ReloadingCredentials>(files);
}

}  // namespace ebb::server
