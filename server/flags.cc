#include "server/flags.h"

#include <map>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace ebb::server {

absl::StatusOr<Flags> ParseFlags(const std::vector<std::string>& arguments) {
  Flags flags;
  const std::map<std::string, bool*> switches = {{"--check-config", &flags.check_config},
                                                 {"--print-config", &flags.print_config},
                                                 {"--help", &flags.help},
                                                 {"-h", &flags.help},
                                                 {"--version", &flags.version}};
  const std::map<std::string, std::string*> values = {{"--config", &flags.config},
                                                      {"--model", &flags.model},
                                                      {"--listen", &flags.listen},
                                                      {"--http-listen", &flags.http_listen}};
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (const auto it = switches.find(argument); it != switches.end()) {
      *it->second = true;
      continue;
    }
    const size_t equals = argument.find('=');
    const std::string name = argument.substr(0, equals);
    if (name != "--set" && values.count(name) == 0) {
      return absl::InvalidArgumentError(absl::StrCat("unknown argument \"", argument, "\""));
    }
    std::string value;
    if (equals != std::string::npos) {
      value = argument.substr(equals + 1);
    } else if (i + 1 < arguments.size()) {
      value = arguments[++i];
    } else {
      return absl::InvalidArgumentError(absl::StrCat(name, " needs a value"));
    }
    if (name == "--set") {
      flags.sets.push_back(value);
    } else if (value.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(name, " needs a value"));
    } else {
      *values.at(name) = value;
    }
  }
  return flags;
}

absl::string_view HelpText() {
  return R"(usage: ebb_server --config FILE [--model FILE] [--listen ADDR:PORT] [--http-listen WHERE]
                  [--set a.b=value]...

  --config FILE        settings, JSON with comments; without it, the defaults
  --model PATH         the model: a GGUF file, a Hugging Face directory or random:SHAPE;
                       instead of model.path
  --listen ADDR:PORT   where to serve gRPC; instead of server.listen; port 0 takes a free one
  --http-listen WHERE  where to serve HTTP: ADDR:PORT, auto or off; instead of server.http_listen
  --set a.b=value      changes one setting; may be repeated; the last one counts
  --check-config       check the settings and stop
  --print-config       print the effective settings as JSON and stop
  --version            print the version and stop
  --help               print this and stop

Standard output carries one JSON object a line; {"event":"ready","address":...} says that the
server answers. SIGTERM or SIGINT ends it when its requests are done, a second one at once.

exit codes: 0 ended as asked; 64 wrong arguments; 65 the model was refused; 69 cannot listen;
71 the system refused memory or threads; 78 wrong settings
)";
}

}  // namespace ebb::server
