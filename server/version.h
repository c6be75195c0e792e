// The version that --version, the ready line and GetServerInfo tell.
#pragma once

namespace ebb::server {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace ebb::server
