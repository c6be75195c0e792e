// Flags of ebb_server, as the command line gives them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ebb::server {

struct Flags {
  std::string config;             // Empty: the defaults.
  std::string model;              // Empty: the config's model.path.
  std::string listen;             // Empty: the config's server.listen.
  std::string http_listen;        // Empty: the config's server.http_listen.
  std::vector<std::string> sets;  // "a.b=value", in order.
  bool check_config = false;
  bool print_config = false;
  bool help = false;
  bool version = false;
};

// Takes "--flag value" and "--flag=value". INVALID_ARGUMENT names what is unknown or lacks a value.
absl::StatusOr<Flags> ParseFlags(const std::vector<std::string>& arguments);

// The text of --help.
absl::string_view HelpText();

}  // namespace ebb::server
