#include "server/access.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"

namespace ebb::server {
namespace {

constexpr int64_t kFileBytesMax = int64_t{256} << 10;
constexpr size_t kTokensMax = 1024;
constexpr size_t kNameBytesMax = 64;
constexpr size_t kTokenBytesMin = 16;
constexpr size_t kTokenBytesMax = 512;
constexpr absl::Duration kLookEvery = absl::Seconds(1);

bool IsName(absl::string_view name) {
  return name.size() <= kNameBytesMax && std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
         });
}

// What may stand in a header behind "Bearer ".
bool IsToken(absl::string_view token) {
  return std::all_of(token.begin(), token.end(), [](char c) { return absl::ascii_isgraph(c); });
}

absl::Status BadFile(absl::string_view path, absl::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat("security.tokens_file: ", path, ": ", problem));
}

absl::StatusOr<std::string> ReadAll(int fd, int64_t bytes, const std::string& path) {
  // One byte more than it should have: a file that grows is read again later.
  std::string text(static_cast<size_t>(bytes) + 1, '\0');
  size_t got = 0;
  while (got < text.size()) {
    const ssize_t count = read(fd, text.data() + got, text.size() - got);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return BadFile(path, std::strerror(errno));
    if (count == 0) break;
    got += static_cast<size_t>(count);
  }
  if (got != static_cast<size_t>(bytes)) return BadFile(path, "changed while it was read");
  text.resize(got);
  return text;
}

}  // namespace

absl::StatusOr<std::vector<AccessToken>> ParseTokens(absl::string_view text,
                                                     absl::string_view source) {
  std::vector<AccessToken> tokens;
  int line_number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++line_number;
    const std::string where = absl::StrCat(source, ":", line_number);
    // A token may hold a '#': comments are lines of their own.
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line[0] == '#') continue;
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
    if (words.size() != 2) return BadFile(where, "must be NAME TOKEN; comments begin with #");
    if (!IsName(words[0])) {
      return BadFile(where, absl::StrCat("the name must be 1 to ", kNameBytesMax,
                                         " letters, digits, '-', '_' or '.'"));
    }
    if (words[1].size() < kTokenBytesMin || words[1].size() > kTokenBytesMax ||
        !IsToken(words[1])) {
      return BadFile(
          where, absl::StrCat("the token must be ", kTokenBytesMin, " to ", kTokenBytesMax,
                              " printable ASCII characters; ", "`openssl rand -hex 32` makes one"));
    }
    const AccessToken token = {std::string(words[0]), Sha256(words[1])};
    for (const AccessToken& other : tokens) {
      if (other.name == token.name) return BadFile(where, "the name is given twice");
      if (other.digest == token.digest) return BadFile(where, "the token is given twice");
    }
    if (tokens.size() == kTokensMax) {
      return BadFile(where, absl::StrCat("more than ", kTokensMax, " tokens"));
    }
    tokens.push_back(token);
  }
  if (tokens.empty()) return BadFile(source, "holds no token; a line is NAME TOKEN");
  return tokens;
}

AccessGate::AccessGate(std::string path, const base::Clock* clock, base::Log* log)
    : path_(std::move(path)), clock_(clock), log_(log) {}

absl::StatusOr<std::unique_ptr<AccessGate>> AccessGate::Open(const std::string& path,
                                                             const base::Clock* clock,
                                                             base::Log* log) {
  ASSIGN_OR_RETURN(Contents contents, Read(path));
  std::unique_ptr<AccessGate> gate(new AccessGate(path, clock, log));
  base::MutexLock lock(&gate->mutex_);
  gate->seen_ = contents.stamp;
  gate->looked_ = clock->Now();
  gate->tokens_ = std::move(contents.tokens);
  return gate;
}

AccessGate::Stamp AccessGate::StampOf(const std::string& path) {
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) return Stamp();
  return {static_cast<int64_t>(info.st_ino), info.st_size, info.st_mtim.tv_sec,
          info.st_mtim.tv_nsec};
}

absl::StatusOr<AccessGate::Contents> AccessGate::Read(const std::string& path) {
  // Not blocking: a pipe is opened at once, and refused.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return BadFile(path, absl::StrCat("cannot be opened: ", std::strerror(errno)));
  struct Closer {
    int fd;
    ~Closer() { close(fd); }
  } const closer{fd};
  struct stat info = {};
  if (fstat(fd, &info) != 0) return BadFile(path, std::strerror(errno));
  if (!S_ISREG(info.st_mode)) return BadFile(path, "is not a regular file");
  if ((info.st_mode & S_IROTH) != 0) {
    return BadFile(path, absl::StrCat("everybody on this machine can read it; chmod o-r ", path));
  }
  if (info.st_size > kFileBytesMax) {
    return BadFile(path, absl::StrCat("is larger than ", kFileBytesMax, " bytes"));
  }
  Contents contents;
  contents.stamp = {static_cast<int64_t>(info.st_ino), info.st_size, info.st_mtim.tv_sec,
                    info.st_mtim.tv_nsec};
  ASSIGN_OR_RETURN(const std::string text, ReadAll(fd, info.st_size, path));
  ASSIGN_OR_RETURN(contents.tokens, ParseTokens(text, path));
  return contents;
}

void AccessGate::ReadAgainIfChanged() {
  const absl::Time now = clock_->Now();
  // Also when the clock was set back.
  if (now >= looked_ && now - looked_ < kLookEvery) return;
  looked_ = now;
  const Stamp stamp = StampOf(path_);
  if (stamp == seen_) return;
  seen_ = stamp;
  absl::StatusOr<Contents> contents = Read(path_);
  if (!contents.ok()) {
    log_->Write("tokens_refused", {{"message", std::string(contents.status().message())}});
    return;
  }
  seen_ = contents->stamp;
  tokens_ = std::move(contents->tokens);
  log_->Write("tokens_read", {{"tokens", tokens_.size()}});
}

absl::StatusOr<std::string> AccessGate::Check(absl::string_view authorization) {
  constexpr absl::string_view kScheme = "Bearer ";
  const bool has_scheme = absl::StartsWithIgnoreCase(authorization, kScheme);
  const absl::string_view token =
      has_scheme ? absl::StripAsciiWhitespace(authorization.substr(kScheme.size())) : "";
  if (token.empty()) {
    return absl::UnauthenticatedError(
        "a token is required: send the header Authorization: Bearer TOKEN");
  }
  const Sha256Digest digest = Sha256(token);
  base::MutexLock lock(&mutex_);
  ReadAgainIfChanged();
  // All are compared, so that the time tells nothing of which one it is.
  const AccessToken* found = nullptr;
  for (const AccessToken& known : tokens_) {
    if (CRYPTO_memcmp(known.digest.data(), digest.data(), digest.size()) == 0) found = &known;
  }
  if (found == nullptr) return absl::UnauthenticatedError("the token is not one of this server's");
  return found->name;
}

}  // namespace ebb::server
