// TlsFiles: what a port that speaks TLS shows (a certificate and its key) and whom it asks for a
// certificate (a client CA), read from files and read again when they change.
//
//   a connection comes ──> Current() ──(changed? once a second)──> the pair to serve it with
//
// New files that are broken or do not belong together change nothing but the log, so certificate
// and key may be replaced one after the other.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mutex.h"
#include "server/file_watch.h"

namespace ebb::server {

struct TlsPaths {
  std::string certificate;  // PEM: the server's own certificate first, then those between it and
                            // the root.
  std::string key;          // PEM, not encrypted.
  std::string client_ca;    // PEM. Empty: clients are asked for no certificate.
};

// One version of the files. Checked: the key is the certificate's.
struct TlsIdentity {
  int64_t number = 0;  // 1 for the first, and one more for each that follows.
  std::string certificate_pem;
  std::string key_pem;
  std::string client_ca_pem;
  // All of it, as OpenSSL's servers want it: TLS 1.2 and newer.
  std::shared_ptr<SSL_CTX> context;
};

// Thread-safe.
class TlsFiles {
 public:
  // INVALID_ARGUMENT names the setting and the file, and says what is wrong. A key that everybody
  // on the machine can read is refused. `clock` and `log` outlive this.
  static absl::StatusOr<std::unique_ptr<TlsFiles>> Open(const TlsPaths& paths,
                                                        const base::Clock* clock, base::Log* log);

  // Whether clients must present a certificate.
  bool asks_clients() const { return !paths_.client_ca.empty(); }
  // For a connection that comes now; never null. Reads files when they have changed.
  std::shared_ptr<const TlsIdentity> Current();

 private:
  TlsFiles(TlsPaths paths, const base::Clock* clock, base::Log* log);
  static absl::StatusOr<std::shared_ptr<TlsIdentity>> Read(const TlsPaths& paths);

  const TlsPaths paths_;
  base::Log* const log_;
  base::Mutex mutex_;
  FileWatch watch_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const TlsIdentity> current_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ebb::server
