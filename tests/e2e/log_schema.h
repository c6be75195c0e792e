// What a server has written to its log, compared with docs/log.schema.json.
#pragma once

#include "tests/e2e/server_process.h"

namespace ebb::tests {

// Expects that each line so far fits the schema. With Debian's Python, whose package of JSON
// schemas tools/setup.sh installs.
void ExpectLogFitsSchema(const ServerProcess& server);

}  // namespace ebb::tests
