// ExitCode: how a command ended, for scripts.
#pragma once

namespace ebb::cli {

enum class ExitCode {
  kOk = 0,
  kFailed = 1,       // The server refused the request or could not finish it; health: not serving.
  kUsage = 2,        // The command line or a file that it names is wrong.
  kUnreachable = 3,  // No server answers at the address.
  kInterrupted = 130,  // Ctrl-C, SIGTERM; the server has been told to cancel.
};

}  // namespace ebb::cli
