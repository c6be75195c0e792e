#include "server/effective_config.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/listen_address.h"

namespace ebb::server {

namespace {

// A server that others reach and anybody may use is one that somebody asked for.
absl::Status CheckNotOpen(const config::ServerConfig& config) {
  if (config.security.allow_open || !config.security.tokens_file.empty() ||
      !config.security.tls_client_ca_file.empty()) {
    return absl::OkStatus();
  }
  const bool asks_operators = !config.security.control_tokens_file.empty();
  const std::string& control_listen = config.server.control_listen;
  for (const std::string& listen :
       {config.server.listen, config.server.http_listen, asks_operators ? "" : control_listen}) {
    if (listen.empty() || listen == "auto" || listen == "off") continue;
    ASSIGN_OR_RETURN(const ListenAddress address, ParseControlAddress(listen));
    if (address.is_loopback) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        listen,
        ": whoever reaches this address could use and stop the server; name tokens with "
        "security.tokens_file (for Control alone: security.control_tokens_file), or ask for "
        "certificates with security.tls_client_ca_file (see "
        "docs/security.md), listen on 127.0.0.1, or set security.allow_open=true where the network "
        "keeps strangers out"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<config::ServerConfig> EffectiveConfig(const Flags& flags) {
  config::ServerConfig config;
  if (!flags.config.empty()) {
    ASSIGN_OR_RETURN(config, config::Load(flags.config));
  }
  for (const std::string& set : flags.sets) RETURN_IF_ERROR(config::ApplySet(&config, set));
  if (!flags.model.empty()) config.model.path = flags.model;
  if (!flags.listen.empty()) config.server.listen = flags.listen;
  if (!flags.http_listen.empty()) config.server.http_listen = flags.http_listen;
  RETURN_IF_ERROR(config::Validate(config));
  RETURN_IF_ERROR(ParseListenAddress(config.server.listen).status());
  if (!config.server.control_listen.empty()) {
    RETURN_IF_ERROR(ParseControlAddress(config.server.control_listen).status());
  }
  RETURN_IF_ERROR(CheckNotOpen(config));
  return config;
}

std::string ConfigHash(const config::ServerConfig& config) {
  uint64_t hash = 0xCBF29CE484222325ull;
  for (const char c : config::Print(config)) {
    hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3ull;
  }
  return absl::StrCat(absl::Hex(hash, absl::kZeroPad16));
}

}  // namespace ebb::server
