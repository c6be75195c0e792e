// How ebb_server ends, as sysexits.h numbers it. A part of the interface: see server/README.md.
#pragma once

namespace ebb::server {

enum ExitCode {
  kExitOk = 0,       // Ended as it was asked to.
  kExitUsage = 64,   // Wrong arguments.
  kExitModel = 65,   // The model was refused; one model_rejected line says why.
  kExitListen = 69,  // Cannot listen on the address.
  kExitDevice = 70,  // The CUDA device cannot be used, or has failed.
  kExitSystem = 71,  // The system refused memory.
  kExitConfig = 78,  // Wrong settings.
};

}  // namespace ebb::server
