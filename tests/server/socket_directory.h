// SocketDirectory: a directory for Unix sockets, whose paths must be short; gone with it.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

#include "base/check.h"

namespace ebb::tests {

class SocketDirectory {
 public:
  SocketDirectory() { CHECK(mkdtemp(path_) != nullptr); }
  ~SocketDirectory() { std::filesystem::remove_all(path_); }
  SocketDirectory(const SocketDirectory&) = delete;
  SocketDirectory& operator=(const SocketDirectory&) = delete;

  std::string Path(const std::string& name) const { return std::string(path_) + "/" + name; }

 private:
  char path_[32] = "/tmp/ebb-socket-XXXXXX";
};

}  // namespace ebb::tests
