#include "server/access.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"

namespace ebb::server {
namespace {

constexpr size_t kTokensMax = 1024;
constexpr size_t kNameBytesMax = 64;
constexpr size_t kTokenBytesMin = 16;
constexpr size_t kTokenBytesMax = 512;

bool IsName(absl::string_view name) {
  return name.size() <= kNameBytesMax && std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
         });
}

// What may stand in a header behind "Bearer ".
bool IsToken(absl::string_view token) {
  return std::all_of(token.begin(), token.end(), [](char c) { return absl::ascii_isgraph(c); });
}

}  // namespace

absl::string_view TokensSetting(TokenHolders holders) {
  return holders == TokenHolders::kUsers ? "security.tokens_file" : "security.control_tokens_file";
}

absl::StatusOr<std::vector<AccessToken>> ParseTokens(absl::string_view text, TokenHolders holders,
                                                     absl::string_view source) {
  const auto bad = [holders](absl::string_view where, absl::string_view problem) {
    return BadFile(TokensSetting(holders), where, problem);
  };
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
    if (words.size() != 2) return bad(where, "must be NAME TOKEN; comments begin with #");
    if (!IsName(words[0])) {
      return bad(where, absl::StrCat("the name must be 1 to ", kNameBytesMax,
                                     " letters, digits, '-', '_' or '.'"));
    }
    if (words[1].size() < kTokenBytesMin || words[1].size() > kTokenBytesMax ||
        !IsToken(words[1])) {
      return bad(where,
                 absl::StrCat("the token must be ", kTokenBytesMin, " to ", kTokenBytesMax,
                              " printable ASCII characters; ", "`openssl rand -hex 32` makes one"));
    }
    const AccessToken token = {std::string(words[0]), base::Sha256(words[1])};
    for (const AccessToken& other : tokens) {
      if (other.name == token.name) return bad(where, "the name is given twice");
      if (other.digest == token.digest) return bad(where, "the token is given twice");
    }
    if (tokens.size() == kTokensMax) {
      return bad(where, absl::StrCat("more than ", kTokensMax, " tokens"));
    }
    tokens.push_back(token);
  }
  if (tokens.empty()) return bad(source, "holds no token; a line is NAME TOKEN");
  return tokens;
}

AccessGate::AccessGate(TokenHolders holders, std::string path, const base::Clock* clock,
                       base::Log* log)
    : holders_(holders), path_(std::move(path)), log_(log), watch_({path_}, clock) {}

absl::StatusOr<std::unique_ptr<AccessGate>> AccessGate::Open(TokenHolders holders,
                                                             const std::string& path,
                                                             const base::Clock* clock,
                                                             base::Log* log) {
  std::unique_ptr<AccessGate> gate(new AccessGate(holders, path, clock, log));
  base::MutexLock lock(&gate->mutex_);
  ASSIGN_OR_RETURN(gate->tokens_, gate->Read());
  return gate;
}

absl::StatusOr<std::vector<AccessToken>> AccessGate::Read() const {
  ASSIGN_OR_RETURN(const std::string text,
                   ReadWatchedFile(TokensSetting(holders_), path_, FileReaders::kNotEverybody));
  return ParseTokens(text, holders_, path_);
}

void AccessGate::ReadAgainIfChanged() {
  if (!watch_.Changed()) return;
  absl::StatusOr<std::vector<AccessToken>> tokens = Read();
  if (!tokens.ok()) {
    log_->Write("tokens_refused", {{"message", std::string(tokens.status().message())}});
    return;
  }
  tokens_ = *std::move(tokens);
  log_->Write("tokens_read",
              {{"setting", std::string(TokensSetting(holders_))}, {"tokens", tokens_.size()}});
}

const AccessToken* FindToken(const std::vector<AccessToken>& tokens, absl::string_view token) {
  const base::Sha256Digest digest = base::Sha256(token);
  const AccessToken* found = nullptr;
  for (const AccessToken& known : tokens) {
    if (CRYPTO_memcmp(known.digest.data(), digest.data(), digest.size()) == 0) found = &known;
  }
  return found;
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
  base::MutexLock lock(&mutex_);
  ReadAgainIfChanged();
  const AccessToken* const found = FindToken(tokens_, token);
  if (found == nullptr) return absl::UnauthenticatedError("the token is not one of this server's");
  return found->name;
}

absl::Status ControlGate::Check(absl::string_view authorization) const {
  if (is_open()) return absl::OkStatus();
  if (users_ != nullptr) {
    const absl::StatusOr<std::string> user = users_->Check(authorization);
    if (user.ok()) {
      return absl::PermissionDeniedError(
          absl::StrCat("a user's token does not open Control; ask with one of ",
                       TokensSetting(TokenHolders::kOperators), " that no user has"));
    }
    // Looked at once: a file that changes meanwhile does not make an operator of a user.
    if (operators_ == nullptr) return user.status();
  }
  return operators_->Check(authorization).status();
}

}  // namespace ebb::server
