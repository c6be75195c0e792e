// The reference backend: every operation as its formula says, summed in double, on the calling
// thread. The oracle of every kernel test, and the path `reference` of a server.
//
// Weights are held as floats (4 bytes each). Activations are never quantised; keys and values are
// rounded to the KV cache's format when they are stored, and nowhere else.
#pragma once

#include <memory>

#include "kernels/backend.h"

namespace ebb::kernels {

// Thread-safe: operations share no state. Needs no scratch.
std::unique_ptr<Backend> MakeReferenceBackend();

}  // namespace ebb::kernels
