// AccessGate: who is let in: the bearer tokens of a file, and the name that each has. Users have
// one, whose names are the tenants; operators, who may call Control, have another.
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
#include "base/sha256.h"
#include "server/file_watch.h"

namespace ebb::server {

// Tokens are kept as digests only. Equal sizes make comparing take the same time for all of them.
struct AccessToken {
  std::string name;
  base::Sha256Digest digest;
};

// Whose tokens a file holds.
enum class TokenHolders { kUsers, kOperators };

// The setting that names the file: "security.tokens_file".
absl::string_view TokensSetting(TokenHolders holders);

// What a tokens file says. INVALID_ARGUMENT names the line, never the token.
absl::StatusOr<std::vector<AccessToken>> ParseTokens(absl::string_view text, TokenHolders holders,
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
  static absl::StatusOr<std::unique_ptr<AccessGate>> Open(TokenHolders holders,
                                                          const std::string& path,
                                                          const base::Clock* clock, base::Log* log);

  // `authorization`: the header's value, "Bearer TOKEN"; empty where there is none. The name of the
  // token, or UNAUTHENTICATED.
  absl::StatusOr<std::string> Check(absl::string_view authorization);

 private:
  AccessGate(TokenHolders holders, std::string path, const base::Clock* clock, base::Log* log);
  absl::StatusOr<std::vector<AccessToken>> Read() const;
  void ReadAgainIfChanged() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const TokenHolders holders_;
  const std::string path_;
  base::Log* const log_;
  base::Mutex mutex_;
  FileWatch watch_ ABSL_GUARDED_BY(mutex_);
  std::vector<AccessToken> tokens_ ABSL_GUARDED_BY(mutex_);
};

// Who may call Control. A user's token never opens it, also not one that stands in both files: as
// soon as users have tokens, operators need their own.
//
//   users' file  operators' file  Control is open to
//   -            -                everybody
//   -            is there         operators
//   is there     -                nobody
//   is there     is there         operators who are not users
//
// Thread-safe.
class ControlGate {
 public:
  // Null where there is no such file. Both outlive the gate.
  ControlGate(AccessGate* users, AccessGate* operators) : users_(users), operators_(operators) {}

  bool is_open() const { return users_ == nullptr && operators_ == nullptr; }

  // UNAUTHENTICATED for a stranger, PERMISSION_DENIED for a user.
  absl::Status Check(absl::string_view authorization) const;

 private:
  AccessGate* users_;
  AccessGate* operators_;
};

}  // namespace ebb::server
