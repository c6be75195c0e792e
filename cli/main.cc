// ebb: the command line client.
#include <signal.h>
#include <unistd.h>

#include <iostream>

#include "cli/command.h"

int main(int argc, char** argv) {
  // Before gRPC makes threads. A reader that has gone away shows as a failed write.
  signal(SIGPIPE, SIG_IGN);
  ebb::cli::Interrupt interrupt;
  const ebb::cli::SignalThread signals(&interrupt);
  ebb::cli::Terminal terminal{&std::cin, &std::cout, &std::cerr, isatty(STDIN_FILENO) == 1,
                              &interrupt};
  const std::vector<std::string> words(argv + 1, argv + argc);
  return static_cast<int>(ebb::cli::Run(words, &terminal));
}
