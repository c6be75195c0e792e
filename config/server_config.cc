#include "config/server_config.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "config/json_tree.h"
#include "config/nearest.h"
#include "config/settings.h"
#include "nlohmann/json.hpp"

namespace ebb::config {
namespace {

// What is wrong, and with which settings: the one to name comes first.
struct Problem {
  std::vector<absl::string_view> keys;
  std::string message;
};

// ---- One value

// A value as an error shows it.
std::string Shown(const JsonNode& value) {
  constexpr size_t kShownBytesMax = 60;
  switch (value.kind) {
    case JsonNode::Kind::kBool:
    case JsonNode::Kind::kInteger:
    case JsonNode::Kind::kFraction:
      return value.text;
    case JsonNode::Kind::kString: {
      const std::string quoted =
          nlohmann::json(value.text)
              .dump(-1, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace);
      return quoted.size() <= kShownBytesMax ? quoted : "a long string";
    }
    default:
      return std::string(KindName(value.kind));
  }
}

std::string WrongType(const Setting& setting, const JsonNode& value) {
  return absl::StrCat("must be ", DescribeValues(setting), "; not ", Shown(value));
}

// The empty string, and `out` is set, if `value` is a whole number within the setting's range; else
// what is wrong.
std::string ReadWhole(const Setting& setting, const JsonNode& value, int64_t* out) {
  if (value.kind != JsonNode::Kind::kInteger) return WrongType(setting, value);
  // A number past 64 bits does not parse, and is out of every range.
  if (!absl::SimpleAtoi(value.text, out) || *out < setting.min || *out > setting.max) {
    return absl::StrCat(value.text, " is out of range; must be ", setting.min, " to ", setting.max);
  }
  return "";
}

// Puts a value of the file or the command line into the config. Gives the empty string or what is
// wrong; then nothing has changed.
std::string Assign(const Setting& setting, const JsonNode& value, ServerConfig* config) {
  struct Visitor {
    const Setting& setting;
    const JsonNode& value;
    ServerConfig& c;

    std::string operator()(Member<bool> member) const {
      if (value.kind != JsonNode::Kind::kBool) return WrongType(setting, value);
      member(c) = value.boolean;
      return "";
    }
    std::string operator()(Member<int32_t> member) const {
      CHECK(setting.min >= std::numeric_limits<int32_t>::min() &&
            setting.max <= std::numeric_limits<int32_t>::max())
          << setting.key;
      int64_t number = 0;
      std::string problem = ReadWhole(setting, value, &number);
      if (problem.empty()) member(c) = static_cast<int32_t>(number);
      return problem;
    }
    std::string operator()(Member<int64_t> member) const {
      int64_t number = 0;
      std::string problem = ReadWhole(setting, value, &number);
      if (problem.empty()) member(c) = number;
      return problem;
    }
    std::string operator()(Member<absl::Duration> member) const {
      int64_t number = 0;
      std::string problem = ReadWhole(setting, value, &number);
      if (problem.empty()) member(c) = absl::Milliseconds(number);
      return problem;
    }
    std::string operator()(Member<std::string> member) const {
      if (value.kind != JsonNode::Kind::kString) return WrongType(setting, value);
      std::string before = std::exchange(member(c), value.text);
      std::string problem = RangeProblem(setting, c);
      if (!problem.empty()) member(c) = std::move(before);
      return problem;
    }
    std::string operator()(const EnumMember& member) const {
      if (value.kind == JsonNode::Kind::kString) {
        for (size_t i = 0; i < member.names.size(); ++i) {
          if (member.names[i] != value.text) continue;
          member.set(c, static_cast<int>(i));
          return "";
        }
      }
      return WrongType(setting, value);
    }
  };
  return std::visit(Visitor{setting, value, *config}, setting.member);
}

// ---- Unknown keys

// What an unknown `section.name` may have been meant to be; `section` exists.
std::string SuggestKey(absl::string_view section, absl::string_view name) {
  std::vector<absl::string_view> names;
  for (const Setting& setting : AllSettings()) {
    if (setting.section() == section) names.push_back(setting.name());
  }
  const absl::string_view nearest = Nearest(name, names);
  if (!nearest.empty()) return absl::StrCat("did you mean ", section, ".", nearest, "?");
  for (const Setting& setting : AllSettings()) {
    if (setting.name() == name) return absl::StrCat("did you mean ", setting.key, "?");
  }
  return absl::StrCat("keys of ", section, ": ", absl::StrJoin(names, ", "));
}

// The same for a key that should have been a section's name.
std::string SuggestSection(absl::string_view section) {
  if (const Setting* setting = FindSetting(section); setting != nullptr) {
    return absl::StrCat("write it as \"", setting->section(), "\": {\"", setting->name(),
                        "\": ...}");
  }
  for (const Setting& setting : AllSettings()) {
    if (setting.name() == section) return absl::StrCat("did you mean ", setting.key, "?");
  }
  std::vector<absl::string_view> names;
  for (const Section& known : AllSections()) names.push_back(known.name);
  const absl::string_view nearest = Nearest(section, names);
  if (!nearest.empty()) return absl::StrCat("did you mean ", nearest, "?");
  return absl::StrCat("sections: ", absl::StrJoin(names, ", "));
}

// ---- Combinations

// Whether the system would listen there without asking a resolver.
bool IsLiteralHost(const std::string& host, bool bracketed) {
  in_addr v4;
  in6_addr v6;
  if (bracketed) return inet_pton(AF_INET6, host.c_str(), &v6) == 1;
  return host == "localhost" || inet_pton(AF_INET, host.c_str(), &v4) == 1;
}

// NAME,NAME or *.
std::string HostsProblem(absl::string_view hosts) {
  constexpr absl::string_view kLetters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_, ";
  if (hosts == "*" || hosts.find_first_not_of(kLetters) == absl::string_view::npos) return "";
  return "must be names without ports, separated by commas, such as ebb,ebb.example.com; or *";
}

// ADDRESS:PORT, [IPV6]:PORT.
std::string ListenProblem(absl::string_view listen) {
  constexpr absl::string_view kForm = "must be ADDRESS:PORT, such as 127.0.0.1:50051 or [::1]:0";
  const size_t colon = listen.rfind(':');
  if (colon == absl::string_view::npos || colon == 0) return std::string(kForm);
  absl::string_view host = listen.substr(0, colon);
  const absl::string_view port = listen.substr(colon + 1);
  const bool bracketed = host.front() == '[' && host.back() == ']';
  if (host.find(':') != absl::string_view::npos && !bracketed) return std::string(kForm);
  const bool digits = !port.empty() && port.size() <= 5 &&
                      port.find_first_not_of("0123456789") == absl::string_view::npos;
  int number = 0;
  if (!digits || !absl::SimpleAtoi(port, &number)) return std::string(kForm);
  if (number > 65535) return absl::StrCat("port ", number, " is out of range; must be 0 to 65535");
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (!IsLiteralHost(std::string(host), bracketed)) {
    return absl::StrCat("\"", host, "\" is not an address; write it in numbers, such as ",
                        "127.0.0.1, 0.0.0.0 or [::1]");
  }
  return "";
}

// `low` must not be above `high`.
void CheckOrder(const ServerConfig& config, absl::string_view low, absl::string_view high,
                bool ordered, std::vector<Problem>* problems) {
  if (ordered) return;
  problems->push_back({{low, high},
                       absl::StrCat(ValueOf(config, low), " is above ", high, " (",
                                    ValueOf(config, high), "); lower it or raise ", high)});
}

std::vector<Problem> FindProblems(const ServerConfig& config) {
  std::vector<Problem> problems;
  for (const Setting& setting : AllSettings()) {
    std::string message = RangeProblem(setting, config);
    if (!message.empty()) problems.push_back({{setting.key}, std::move(message)});
  }
  if (!problems.empty()) return problems;  // Combinations of impossible values mean nothing.

  std::string listen = ListenProblem(config.server.listen);
  if (!listen.empty()) problems.push_back({{"server.listen"}, std::move(listen)});
  const std::string& http_listen = config.server.http_listen;
  std::string http_problem;
  if (http_listen != "auto" && http_listen != "off") http_problem = ListenProblem(http_listen);
  if (!http_problem.empty()) {
    problems.push_back({{"server.http_listen"}, absl::StrCat(http_problem, "; or auto, or off")});
  }
  std::string hosts_problem = HostsProblem(config.server.http_hosts);
  if (!hosts_problem.empty()) problems.push_back({{"server.http_hosts"}, std::move(hosts_problem)});
  const std::string& control = config.server.control_listen;
  std::string control_problem;
  const bool is_unix = absl::StartsWith(control, "unix:");  // The server checks its path.
  if (!control.empty() && !is_unix) control_problem = ListenProblem(control);
  if (!control_problem.empty()) {
    problems.push_back(
        {{"server.control_listen"}, absl::StrCat(control_problem, "; or unix:PATH")});
  }
  const SecuritySection& security = config.security;
  if (!control.empty() && !security.tokens_file.empty() && security.control_tokens_file.empty()) {
    problems.push_back({{"server.control_listen", "security.tokens_file"},
                        "users' tokens do not open Control; name a file of operators' tokens with "
                        "security.control_tokens_file"});
  }
  if (!security.tokens_file.empty() && security.tokens_file == security.control_tokens_file) {
    problems.push_back({{"security.control_tokens_file", "security.tokens_file"},
                        "users' tokens do not open Control; name a file of its own"});
  }
  if (security.tls_certificate_file.empty() != security.tls_key_file.empty()) {
    problems.push_back({{"security.tls_certificate_file", "security.tls_key_file"},
                        "a certificate and its key are set together; set both, or neither"});
  }
  if (!security.tls_client_ca_file.empty() && security.tls_certificate_file.empty()) {
    problems.push_back({{"security.tls_client_ca_file"},
                        "asks for TLS; set security.tls_certificate_file and "
                        "security.tls_key_file too"});
  }
  const QuotasConfig& quotas = config.quotas;
  const std::pair<absl::string_view, int64_t> limits[] = {
      {"quotas.requests_per_minute", quotas.requests_per_minute},
      {"quotas.tokens_per_minute", quotas.tokens_per_minute},
      {"quotas.concurrent_requests", quotas.concurrent_requests}};
  for (const auto& [key, limit] : limits) {
    if (limit == 0 || !security.tokens_file.empty()) continue;
    problems.push_back(
        {{key}, "is counted by token; name a file of them with security.tokens_file"});
  }
  const int32_t block = config.kv.block_tokens;
  if ((block & (block - 1)) != 0) {
    problems.push_back({{"kv.block_tokens"}, absl::StrCat(block, " is not a power of two")});
  }
  const KvDtype dtype = config.kv.dtype;
  if (config.device.kind == DeviceKind::kCuda && dtype != KvDtype::kAuto &&
      dtype != KvDtype::kBf16) {
    problems.push_back(
        {{"kv.dtype", "device.kind"},
         "a CUDA device keeps keys and values as bf16; set kv.dtype to auto or bf16"});
  }
  CheckOrder(config, "memory.limit_bytes", "memory.ceiling_bytes",
             config.memory.limit_bytes <= config.memory.ceiling_bytes, &problems);
  CheckOrder(config, "prefill_window.min_ms", "prefill_window.max_ms",
             config.prefill_window.min <= config.prefill_window.max, &problems);
  CheckOrder(config, "decode_window.min_ms", "decode_window.max_ms",
             config.decode_window.min <= config.decode_window.max, &problems);
  return problems;
}

// ---- One file

// Fills a config from a tree and collects what is wrong, with lines.
class Loader {
 public:
  explicit Loader(absl::string_view source) : source_(source) {}

  absl::StatusOr<ServerConfig> Run(const JsonNode& root) {
    if (root.kind != JsonNode::Kind::kObject) {
      Report(root.line, absl::StrCat("must be an object of sections, not ", KindName(root.kind)));
    }
    for (const auto& [name, node] : root.members) LoadSection(name, node);
    if (errors_.empty()) {
      for (const Problem& problem : FindProblems(config_)) {
        Report(LineOf(problem), absl::StrCat(problem.keys[0], ": ", problem.message));
      }
    }
    if (!errors_.empty()) return absl::InvalidArgumentError(absl::StrJoin(errors_, "\n"));
    return config_;
  }

 private:
  void LoadSection(const std::string& name, const JsonNode& section) {
    if (FindSection(name) == nullptr) {
      Report(section.line, absl::StrCat(name, ": unknown key; ", SuggestSection(name)));
      return;
    }
    if (section.kind != JsonNode::Kind::kObject) {
      Report(section.line,
             absl::StrCat(name, ": must be an object of settings; not ", Shown(section)));
      return;
    }
    for (const auto& [setting_name, value] : section.members) {
      const std::string key = absl::StrCat(name, ".", setting_name);
      const Setting* setting = FindSetting(key);
      if (setting == nullptr) {
        Report(value.line, absl::StrCat(key, ": unknown key; ", SuggestKey(name, setting_name)));
        continue;
      }
      const std::string problem = Assign(*setting, value, &config_);
      if (!problem.empty()) Report(value.line, absl::StrCat(key, ": ", problem));
      lines_[key] = value.line;
    }
  }

  // Of the first of the problem's keys that the file sets: defaults alone are never at fault.
  int LineOf(const Problem& problem) const {
    for (absl::string_view key : problem.keys) {
      const auto found = lines_.find(std::string(key));
      if (found != lines_.end()) return found->second;
    }
    return 1;
  }

  void Report(int line, const std::string& message) {
    constexpr size_t kErrorsMax = 20;
    if (errors_.size() >= kErrorsMax) return;
    errors_.push_back(absl::StrCat(source_, ":", line, ": ", message));
  }

  const std::string source_;
  ServerConfig config_;
  std::map<std::string, int> lines_;
  std::vector<std::string> errors_;
};

struct FileCloser {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

}  // namespace

absl::StatusOr<ServerConfig> Parse(absl::string_view text, absl::string_view source) {
  ASSIGN_OR_RETURN(const JsonNode root, ParseJson(text, source));
  return Loader(source).Run(root);
}

absl::StatusOr<ServerConfig> Load(const std::string& path) {
  const std::unique_ptr<std::FILE, FileCloser> file(std::fopen(path.c_str(), "rb"));
  if (file == nullptr) {
    const std::string message = absl::StrCat(path, ": cannot be opened: ", std::strerror(errno),
                                             "; name an existing file, such as configs/cpu.json");
    return errno == ENOENT ? absl::NotFoundError(message) : absl::InvalidArgumentError(message);
  }
  // One byte more than allowed, so that ParseJson sees that it is too much.
  std::string text(kJsonBytesMax + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file.get()));
  if (std::ferror(file.get()) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": cannot be read; is it a file?"));
  }
  return Parse(text, path);
}

absl::Status ApplySet(ServerConfig* config, absl::string_view assignment) {
  const size_t equals = assignment.find('=');
  const auto error = [&](absl::string_view message) {
    return absl::InvalidArgumentError(absl::StrCat("--set ", assignment, ": ", message));
  };
  if (equals == absl::string_view::npos) {
    return error("must be SECTION.NAME=VALUE, such as memory.idle_ms=5000");
  }
  const absl::string_view key = assignment.substr(0, equals);
  const absl::string_view text = assignment.substr(equals + 1);
  const Setting* setting = FindSetting(key);
  if (setting == nullptr) {
    const size_t dot = key.find('.');
    const absl::string_view section = key.substr(0, dot);
    if (FindSection(section) == nullptr) {
      return error(absl::StrCat("unknown key; ", SuggestSection(section)));
    }
    const absl::string_view name = dot == key.npos ? "" : key.substr(dot + 1);
    return error(absl::StrCat("unknown key; ", SuggestKey(section, name)));
  }
  // The text's type follows from its looks, except that a string setting takes anything.
  JsonNode value;
  value.kind = JsonNode::Kind::kString;
  value.text = std::string(text);
  const absl::string_view digits = text.substr(text.empty() || text[0] != '-' ? 0 : 1);
  if (!std::holds_alternative<Member<std::string>>(setting->member)) {
    if (text == "true" || text == "false") {
      value.kind = JsonNode::Kind::kBool;
      value.boolean = text == "true";
    } else if (!digits.empty() &&
               digits.find_first_not_of("0123456789") == absl::string_view::npos) {
      value.kind = JsonNode::Kind::kInteger;
    }
  }
  const std::string problem = Assign(*setting, value, config);
  return problem.empty() ? absl::OkStatus() : error(problem);
}

absl::Status Validate(const ServerConfig& config) {
  std::vector<std::string> errors;
  for (const Problem& problem : FindProblems(config)) {
    errors.push_back(absl::StrCat(problem.keys[0], ": ", problem.message));
  }
  if (errors.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(errors, "\n"));
}

std::string ValueOf(const ServerConfig& config, absl::string_view key) {
  const Setting* setting = FindSetting(key);
  CHECK(setting != nullptr) << key;
  return ValueText(*setting, config);
}

std::string Print(const ServerConfig& config) {
  nlohmann::ordered_json root = nlohmann::ordered_json::object();
  for (const Setting& setting : AllSettings()) {
    nlohmann::ordered_json& value =
        root[std::string(setting.section())][std::string(setting.name())];
    const std::string text = ValueText(setting, config);
    const bool quoted = std::holds_alternative<Member<std::string>>(setting.member) ||
                        std::holds_alternative<EnumMember>(setting.member);
    if (quoted) {
      value = text;
    } else {
      value = nlohmann::ordered_json::parse(text);
    }
  }
  return root.dump(2, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string Document() {
  const ServerConfig defaults;
  std::string out;
  for (const Section& section : AllSections()) {
    absl::StrAppend(&out, "### ", section.name, "\n\n", section.doc, "\n\n",
                    "| key | value | default | meaning |\n| --- | --- | --- | --- |\n");
    for (const Setting& setting : AllSettings()) {
      if (setting.section() != section.name) continue;
      std::string standard = ValueText(setting, defaults);
      if (standard.empty()) standard = "\"\"";
      absl::StrAppend(&out, "| `", setting.key, "` | ", DescribeValues(setting), " | `", standard,
                      "` | ", absl::StrReplaceAll(setting.doc, {{"|", "\\|"}}), " |\n");
    }
    absl::StrAppend(&out, "\n");
  }
  return out;
}

}  // namespace ebb::config
