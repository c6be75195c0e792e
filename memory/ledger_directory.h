// LedgerDirectory: a directory of a device's ledger, for tests and simulations; gone with its
// owner.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "base/check.h"
#include "memory/ledger_file.h"

namespace ebb::memory {

class LedgerDirectory {
 public:
  explicit LedgerDirectory(const std::string& device_id)
      : directory_(std::filesystem::temp_directory_path() / "ebb-ledger.XXXXXX") {
    CHECK(mkdtemp(directory_.data()) != nullptr);
    path_ = LedgerPath(directory_, device_id);
  }
  ~LedgerDirectory() {
    unlink(path_.c_str());
    rmdir(directory_.c_str());
  }
  LedgerDirectory(const LedgerDirectory&) = delete;
  LedgerDirectory& operator=(const LedgerDirectory&) = delete;

  const std::string& directory() const { return directory_; }
  // Of the ledger, whether it is there or not.
  const std::string& path() const { return path_; }

 private:
  std::string directory_;
  std::string path_;
};

}  // namespace ebb::memory
