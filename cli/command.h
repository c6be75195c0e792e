// Command: one word of the command line, its options and what it does.
#pragma once

#include <functional>
#include <istream>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "cli/args.h"
#include "cli/connection.h"
#include "cli/exit_code.h"
#include "cli/interrupt.h"
#include "cli/top/screen.h"

namespace ebb::cli {

// Files for servers that speak TLS; docs/security.md explains.
struct TlsPaths {
  std::string ca;
  std::string certificate;
  std::string key;
};

// Where a command reads and writes. Borrowed from main or from a test, and outlives the command.
struct Terminal {
  std::istream* in = nullptr;
  std::ostream* out = nullptr;
  std::ostream* err = nullptr;
  bool interactive = false;  // Somebody types at `in`.
  Interrupt* interrupt = nullptr;
  // Takes the whole terminal over until the screen goes. Null where there is none that can.
  std::function<std::unique_ptr<Screen>()> open_screen = nullptr;
  bool color = false;                  // The user wants colours.
  int columns = ScreenSize().columns;  // Of lines that `out` shows whole.
  std::string token = {};              // For servers that ask for one.
  std::string control_token = {};      // For their Control.
  TlsPaths tls = {};                   // Where the command line names none.
};

struct Command {
  absl::string_view name;
  absl::string_view words;    // What stands for its words in the help ("[MESSAGE]...").
  absl::string_view summary;  // One line.
  std::vector<Option> options;
  ExitCode (*run)(const Args& args, Connection* connection, Terminal* terminal);
};

// In the order of the help.
const std::vector<Command>& AllCommands();

Command GenerateCommand();
Command ChatCommand();
Command TokenizeCommand();
Command DetokenizeCommand();
Command MemoryCommand();
Command HealthCommand();
Command ShareCommand();
Command BenchCommand();
Command PlotCommand();
Command TopCommand();

// Sets the call's deadline from --timeout-seconds; where it is not given, from `standard_seconds`.
absl::Status SetDeadline(const Args& args, std::optional<double> standard_seconds,
                         grpc::ClientContext* context);

// Writes "ebb: MESSAGE" and gives `code`.
ExitCode Fail(Terminal* terminal, ExitCode code, absl::string_view message);
// For a mistake on the command line.
ExitCode FailUsage(Terminal* terminal, const absl::Status& status);
// For a call's status that is not OK; kInterrupted if Ctrl-C is why.
ExitCode FailCall(Terminal* terminal, const Connection& connection, const grpc::Status& status);

// The whole program: `words` are the command line without the program's name. An answer that cannot
// be written is a failure.
ExitCode Run(const std::vector<std::string>& words, Terminal* terminal);

}  // namespace ebb::cli
