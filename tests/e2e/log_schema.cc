#include "tests/e2e/log_schema.h"

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "gtest/gtest.h"

namespace ebb::tests {

void ExpectLogFitsSchema(const ServerProcess& server) {
  std::string lines = server.output();
  lines.resize(lines.rfind('\n') + 1);  // The last one may be on its way.
  const std::string path =
      testing::TempDir() + "/log-" + std::to_string(getpid()) + "-" + std::to_string(server.pid());
  std::ofstream(path) << lines;
  const std::string command =
      "/usr/bin/python3 tests/e2e/check_log.py docs/log.schema.json '" + path + "' 2>&1";
  std::FILE* const checker = popen(command.c_str(), "r");
  ASSERT_NE(checker, nullptr);
  std::string said;
  char buffer[4096];
  for (size_t n; (n = std::fread(buffer, 1, sizeof(buffer), checker)) > 0;) said.append(buffer, n);
  EXPECT_EQ(pclose(checker), 0) << said;
  std::remove(path.c_str());
}

}  // namespace ebb::tests
