// Canaries: streams of known tokens that are asked for again and again, over gRPC and over HTTP,
// while something else happens to the server. Each must come out as it did when it was alone: a
// token that was computed from another request's keys and values would show.
#pragma once

#include <functional>

#include "tests/e2e/ledger.h"
#include "tests/e2e/server_process.h"

namespace ebb::tests {

// Runs `storm` beside them. Expects that each canary was heard at least once meanwhile. Their
// requests are written into the ledger, if there is one.
void BesideCanaries(const ServerProcess& server, Ledger* ledger,
                    const std::function<void()>& storm);

}  // namespace ebb::tests
