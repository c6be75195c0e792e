// ebb: the command line client.
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <string>

#include "absl/strings/string_view.h"
#include "cli/command.h"
#include "cli/top/tty_screen.h"

namespace {

absl::string_view Variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

int main(int argc, char** argv) {
  // Before gRPC makes threads. A reader that has gone away shows as a failed write.
  signal(SIGPIPE, SIG_IGN);
  ebb::cli::Interrupt interrupt;
  const ebb::cli::SignalThread signals(&interrupt);
  ebb::cli::Terminal terminal{&std::cin, &std::cout, &std::cerr, isatty(STDIN_FILENO) == 1,
                              &interrupt};
  if (const auto size = ebb::cli::SizeOfTty(STDOUT_FILENO); size.has_value()) {
    terminal.columns = size->columns;
    const absl::string_view kind = Variable("TERM");
    if (terminal.interactive && !kind.empty() && kind != "dumb") {
      terminal.open_screen = [&interrupt] {
        return ebb::cli::OpenTtyScreen(STDIN_FILENO, STDOUT_FILENO, &interrupt);
      };
    }
  }
  terminal.color = Variable("NO_COLOR").empty();
  terminal.token = std::string(Variable("EBB_TOKEN"));
  terminal.control_token = std::string(Variable("EBB_CONTROL_TOKEN"));
  terminal.tls = {std::string(Variable("EBB_TLS_CA")), std::string(Variable("EBB_TLS_CERTIFICATE")),
                  std::string(Variable("EBB_TLS_KEY"))};
  const std::vector<std::string> words(argv + 1, argv + argc);
  return static_cast<int>(ebb::cli::Run(words, &terminal));
}
