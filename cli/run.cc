// The program: the options before the command, the help, and what all commands share.
#include <algorithm>
#include <chrono>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/text_file.h"
#include "config/nearest.h"

namespace ebb::cli {
namespace {

std::vector<Option> CommonOptions() {
  return {
      {"address", "ADDR:PORT", "The server. Default 127.0.0.1:50051."},
      {"control-address", "ADDR:PORT",
       "Where the server has its Control, if elsewhere; unix:PATH for a Unix socket."},
      {"wait-seconds", "S", "Wait this long for the server to come up. Default 0."},
      {"tls-ca", "FILE", "Speak TLS with a server that an authority in FILE (PEM) vouches for."},
      {"tls-certificate", "FILE", "Show this certificate (PEM), to a server that asks for one."},
      {"tls-key", "FILE", "The key (PEM) of --tls-certificate."},
      {"help", "", "Print this help."},
  };
}

constexpr absl::string_view kExitCodes =
    "Exit codes: 0 done; 1 the server refused or failed (health: not serving); 2 a mistake on the "
    "command line;\n3 no server answers; 130 interrupted, and cancelled on the server.\n";

std::string ProgramHelp() {
  std::string out =
      "Usage: ebb [--address ADDR:PORT] COMMAND [OPTION]...\n\n"
      "Talks to an ebb server.\n\n"
      "Commands:\n";
  for (const Command& command : AllCommands()) {
    absl::StrAppend(&out, "  ", command.name, std::string(12 - command.name.size(), ' '),
                    command.summary, "\n");
  }
  absl::StrAppend(&out, "\nOptions of every command:\n", DescribeOptions(CommonOptions()),
                  "\nEnvironment:\n"
                  "  EBB_TOKEN                 The token of a server that asks for one.\n"
                  "  EBB_CONTROL_TOKEN         Its Control's, where that has another.\n"
                  "  EBB_TLS_CA, EBB_TLS_CERTIFICATE, EBB_TLS_KEY\n"
                  "                            What the options of these names default to.\n"
                  "\nebb COMMAND --help tells the rest.\n\n",
                  kExitCodes);
  return out;
}

std::string CommandHelp(const Command& command) {
  return absl::StrCat("Usage: ebb ", command.name, " [OPTION]...", command.words.empty() ? "" : " ",
                      command.words, "\n\n", command.summary, "\n\nOptions:\n",
                      DescribeOptions(command.options), "\nOptions of every command:\n",
                      DescribeOptions(CommonOptions()), "\n", kExitCodes);
}

// The position of the command among the words: the first that is not an option or its value.
size_t FindCommand(const std::vector<std::string>& words) {
  const std::vector<Option> options = CommonOptions();
  const auto takes_next = [&options](const std::string& word) {
    return std::any_of(options.begin(), options.end(), [&word](const Option& option) {
      return !option.value.empty() && word == absl::StrCat("--", option.name);
    });
  };
  size_t i = 0;
  while (i < words.size() && absl::StartsWith(words[i], "--")) i += takes_next(words[i]) ? 2 : 1;
  return std::min(i, words.size());
}

const Command* CommandNamed(absl::string_view name) {
  for (const Command& command : AllCommands()) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

ExitCode UnknownCommand(Terminal* terminal, absl::string_view name) {
  std::vector<absl::string_view> known;
  for (const Command& command : AllCommands()) known.push_back(command.name);
  const absl::string_view nearest = config::Nearest(name, known);
  return FailUsage(terminal, absl::InvalidArgumentError(absl::StrCat(
                                 name, ": unknown command; ",
                                 nearest.empty() ? std::string("ebb --help lists them")
                                                 : absl::StrCat("did you mean ", nearest, "?"))));
}

// What the command line and the environment say of tokens and certificates.
absl::StatusOr<Credentials> ReadCredentials(const Args& args, Terminal* terminal) {
  Credentials credentials;
  credentials.token = terminal->token;
  credentials.control_token = terminal->control_token;
  const std::string ca = args.Text("tls-ca").value_or(terminal->tls.ca);
  const std::string certificate = args.Text("tls-certificate").value_or(terminal->tls.certificate);
  const std::string key = args.Text("tls-key").value_or(terminal->tls.key);
  if (certificate.empty() != key.empty()) {
    return absl::InvalidArgumentError("--tls-certificate and --tls-key: give both, or neither");
  }
  if (ca.empty() && !certificate.empty()) {
    return absl::InvalidArgumentError("--tls-certificate: give --tls-ca too");
  }
  if (ca.empty()) return credentials;
  ASSIGN_OR_RETURN(credentials.ca_pem, ReadInput(ca, terminal->in));
  if (certificate.empty()) return credentials;
  ASSIGN_OR_RETURN(credentials.certificate_pem, ReadInput(certificate, terminal->in));
  ASSIGN_OR_RETURN(credentials.key_pem, ReadInput(key, terminal->in));
  return credentials;
}

// Waits for the server if that was asked for.
ExitCode AwaitServer(const Args& args, const Connection& connection, Terminal* terminal) {
  const absl::StatusOr<std::optional<double>> seconds = args.Double("wait-seconds");
  if (!seconds.ok()) return FailUsage(terminal, seconds.status());
  if (!seconds->has_value()) return ExitCode::kOk;
  constexpr double kSecondsMax = 86400;
  if (!(**seconds >= 0 && **seconds <= kSecondsMax)) {  // Written so that NaN fails.
    return FailUsage(terminal, absl::InvalidArgumentError("--wait-seconds: must be 0 to 86400"));
  }
  // In short pieces, so that Ctrl-C is heard.
  constexpr absl::Duration kPiece = absl::Milliseconds(100);
  for (absl::Duration left = absl::Seconds(**seconds); left > absl::ZeroDuration();
       left -= kPiece) {
    if (terminal->interrupt->triggered()) return ExitCode::kInterrupted;
    if (connection.WaitUntilReachable(std::min(left, kPiece))) break;
  }
  return ExitCode::kOk;
}

}  // namespace

const std::vector<Command>& AllCommands() {
  static const auto& commands = *new std::vector<Command>{
      GenerateCommand(), ChatCommand(), TokenizeCommand(), DetokenizeCommand(), MemoryCommand(),
      HealthCommand(),   TopCommand(),  ShareCommand(),    BenchCommand(),      PlotCommand()};
  return commands;
}

absl::Status SetDeadline(const Args& args, std::optional<double> standard_seconds,
                         grpc::ClientContext* context) {
  ASSIGN_OR_RETURN(const auto given, args.Double("timeout-seconds"));
  const std::optional<double> seconds = given.has_value() ? given : standard_seconds;
  if (!seconds.has_value()) return absl::OkStatus();
  constexpr double kSecondsMax = 1e6;
  if (!(*seconds > 0 && *seconds <= kSecondsMax)) {  // Written so that NaN fails.
    return absl::InvalidArgumentError("--timeout-seconds: must be above 0 and at most 1000000");
  }
  context->set_deadline(std::chrono::system_clock::now() +
                        std::chrono::microseconds(std::llround(*seconds * 1e6)));
  return absl::OkStatus();
}

ExitCode Fail(Terminal* terminal, ExitCode code, absl::string_view message) {
  *terminal->err << "ebb: " << message << std::endl;
  return code;
}

ExitCode FailUsage(Terminal* terminal, const absl::Status& status) {
  return Fail(terminal, ExitCode::kUsage, status.message());
}

ExitCode FailCall(Terminal* terminal, const Connection& connection, const grpc::Status& status) {
  if (terminal->interrupt->triggered()) {
    return Fail(terminal, ExitCode::kInterrupted, "interrupted; cancelled on the server");
  }
  return Fail(terminal,
              connection.IsUnreachable(status) ? ExitCode::kUnreachable : ExitCode::kFailed,
              connection.Explain(status));
}

ExitCode Run(const std::vector<std::string>& words, Terminal* terminal) {
  const size_t at = FindCommand(words);
  std::vector<std::string> rest(words.begin(), words.begin() + static_cast<ptrdiff_t>(at));
  if (at == words.size()) {
    const absl::StatusOr<Args> args = Args::Parse(CommonOptions(), rest);
    if (!args.ok()) return FailUsage(terminal, args.status());
    if (!args->Has("help")) {
      *terminal->err << ProgramHelp();
      return ExitCode::kUsage;
    }
    *terminal->out << ProgramHelp();
    return ExitCode::kOk;
  }
  const Command* command = CommandNamed(words[at]);
  if (command == nullptr) return UnknownCommand(terminal, words[at]);
  rest.insert(rest.end(), words.begin() + static_cast<ptrdiff_t>(at) + 1, words.end());
  std::vector<Option> options = command->options;
  for (const Option& option : CommonOptions()) options.push_back(option);
  const absl::StatusOr<Args> args = Args::Parse(options, rest);
  if (!args.ok()) return FailUsage(terminal, args.status());
  if (args->Has("help")) {
    *terminal->out << CommandHelp(*command);
    return ExitCode::kOk;
  }
  const Addresses addresses = {args->Text("address").value_or(std::string(kDefaultAddress)),
                               args->Text("control-address").value_or("")};
  absl::Status status = CheckAddress("address", addresses.address);
  if (status.ok() && !addresses.control.empty()) {
    status = CheckAddress("control-address", addresses.control);
  }
  if (!status.ok()) return FailUsage(terminal, status);
  const absl::StatusOr<Credentials> credentials = ReadCredentials(*args, terminal);
  if (!credentials.ok()) return FailUsage(terminal, credentials.status());
  Connection connection(addresses, *credentials);
  const ExitCode waited = AwaitServer(*args, connection, terminal);
  if (waited != ExitCode::kOk) return waited;
  const ExitCode code = command->run(*args, &connection, terminal);
  terminal->out->flush();
  if (terminal->out->good() || code != ExitCode::kOk) return code;
  return Fail(terminal, ExitCode::kFailed,
              "cannot write to standard output: its reader has left, or the disk is full");
}

}  // namespace ebb::cli
