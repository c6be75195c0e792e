#include "server/effective_config.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/listen_address.h"

namespace ebb::server {

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
