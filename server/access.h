// AccessGate: who may use this server: the bearer tokens of a file, and the tenant that each names.
//
//   NAME TOKEN        # comment
//
// The file is looked at again at most once a second, when somebody asks. A new file that is broken
// changes nothing but the log.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mutex.h"
#include "server/file_watch.h"
#include "server/sha256.h"

namespace ebb::server {

// Tokens are kept as digests only. Equal sizes make comparing take the same time for all of them.
struct AccessToken {
  std::string name;
  Sha256Digest digest;
};

// What a tokens file says. INVALID_ARGUMENT names the line, never the token.
absl::StatusOr<std::vector<AccessToken>> ParseTokens(absl::string_view text,
                                                     absl::string_view source);

// The one whose digest is the token's; null where there is none. All are compared, each in constant
// time and also after one was found, so that the time tells nothing of which it is, or of how much
// of a wrong token is right. The only place where tokens are compared.
const AccessToken* FindToken(const std::vector<AccessToken>& tokens, absl::string_view token);

// Who sends a request: what the transport knows of it besides what is asked.
struct Caller {
  std::string tenant;    // The name of the token; empty where everybody may use the server.
  std::string trace_id;  // As trace_context.h reads it; empty where there is none.
};

// Thread-safe.
class AccessGate {
 public:
  // INVALID_ARGUMENT when the file cannot be read, others may read it, or a line is wrong. `clock`
  // and `log` outlive the gate.
  static absl::StatusOr<std::unique_ptr<AccessGate>> Open(const std::string& path,
                                                          const base::Clock* clock, base::Log* log);

  // `authorization`: the header's value, "Bearer TOKEN"; empty where there is none. The name of the
  // token, or UNAUTHENTICATED.
  absl::StatusOr<std::string> Check(absl::string_view authorization);

 private:
  AccessGate(std::string path, const base::Clock* clock, base::Log* log);
  static absl::StatusOr<std::vector<AccessToken>> Read(const std::string& path);
  void ReadAgainIfChanged() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string path_;
  base::Log* const log_;
  base::Mutex mutex_;
  FileWatch watch_ ABSL_GUARDED_BY(mutex_);
  std::vector<AccessToken> tokens_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ebb::server
