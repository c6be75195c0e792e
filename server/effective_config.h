// The settings that a command line gives: the file, then --set in order, then --model, --listen and
// --http-listen.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "config/server_config.h"
#include "server/flags.h"

namespace ebb::server {

// Errors are those of config/: each names the key, and the line and file where there is one.
absl::StatusOr<config::ServerConfig> EffectiveConfig(const Flags& flags);

// Sixteen hexadecimal digits that change with any setting (FNV-1a of the printed settings). To tell
// configurations apart, not to protect them.
std::string ConfigHash(const config::ServerConfig& config);

}  // namespace ebb::server
