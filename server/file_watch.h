// Files that settings name and that change while the server runs: tokens, certificates, keys.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"

namespace ebb::server {

// Who may read a file for it to be taken.
enum class FileReaders { kAnybody, kNotEverybody };

// INVALID_ARGUMENT: "SETTING: PATH: PROBLEM".
absl::Status BadFile(absl::string_view setting, absl::string_view path, absl::string_view problem);

// The whole of a regular file of at most 1 MiB. INVALID_ARGUMENT when it cannot be read, or is
// readable for more than `readers`.
absl::StatusOr<std::string> ReadWatchedFile(absl::string_view setting, const std::string& path,
                                            FileReaders readers);

// Tells when one of several files has changed. Not thread-safe.
class FileWatch {
 public:
  // Looks at once, so that what is read afterwards is never older than what was seen. `clock`
  // outlives the watch.
  FileWatch(std::vector<std::string> paths, const base::Clock* clock);

  // Whether one differs from when it was last looked at, or has come or gone. Looks at most once a
  // second, and answers false between.
  bool Changed();

 private:
  // Which version of a file it is.
  struct Stamp {
    int64_t inode = 0;
    int64_t bytes = 0;
    int64_t modified_seconds = 0;
    int64_t modified_nanos = 0;
    bool operator==(const Stamp&) const = default;
  };
  std::vector<Stamp> Look() const;

  const std::vector<std::string> paths_;
  const base::Clock* const clock_;
  absl::Time looked_;
  std::vector<Stamp> seen_;
};

}  // namespace ebb::server
