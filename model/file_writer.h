// FileWriter: a new file, written front to back.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ebb::model {

// Not thread-safe. Without Close the file stays as far as it was written.
class FileWriter {
 public:
  // ALREADY_EXISTS where there is a file of that name; else what the system says, with the path.
  static absl::StatusOr<std::unique_ptr<FileWriter>> Create(const std::string& path);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  absl::Status Append(absl::string_view bytes);
  // All bytes are with the system, or an error says that they are not. Called once, last.
  absl::Status Close();

 private:
  FileWriter(std::string path, int descriptor);

  const std::string path_;
  int descriptor_;
};

// A whole new file.
absl::Status WriteNewFile(const std::string& path, absl::string_view text);

// A directory that is new or was empty. ALREADY_EXISTS when it holds anything.
absl::Status MakeEmptyDirectory(const std::string& path);

}  // namespace ebb::model
