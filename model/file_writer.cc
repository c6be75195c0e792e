#include "model/file_writer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/load_error.h"

namespace ebb::model {
namespace {

constexpr size_t kWriteBytesMax = size_t{1} << 30;  // Linux writes at most 2 GiB at once.

absl::Status SystemError(absl::string_view what, const std::string& path) {
  return absl::ErrnoToStatus(errno, absl::StrCat(Printable(path), ": ", what));
}

}  // namespace

absl::StatusOr<std::unique_ptr<FileWriter>> FileWriter::Create(const std::string& path) {
  const int descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor < 0) return SystemError("it cannot be created", path);
  return std::unique_ptr<FileWriter>(new FileWriter(path, descriptor));
}

FileWriter::FileWriter(std::string path, int descriptor)
    : path_(std::move(path)), descriptor_(descriptor) {}

FileWriter::~FileWriter() {
  if (descriptor_ >= 0) close(descriptor_);
}

absl::Status FileWriter::Append(absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written =
        write(descriptor_, bytes.data(), std::min(bytes.size(), kWriteBytesMax));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return SystemError("writing failed", path_);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status FileWriter::Close() {
  const int descriptor = std::exchange(descriptor_, -1);
  if (close(descriptor) != 0) return SystemError("writing failed", path_);
  return absl::OkStatus();
}

absl::Status WriteNewFile(const std::string& path, absl::string_view text) {
  ASSIGN_OR_RETURN(const std::unique_ptr<FileWriter> file, FileWriter::Create(path));
  RETURN_IF_ERROR(file->Append(text));
  return file->Close();
}

absl::Status MakeEmptyDirectory(const std::string& path) {
  if (mkdir(path.c_str(), 0755) == 0) return absl::OkStatus();
  if (errno != EEXIST) return SystemError("it cannot be created", path);
  DIR* const directory = opendir(path.c_str());
  if (directory == nullptr) return SystemError("it is no directory", path);
  int entry_count = 0;
  while (readdir(directory) != nullptr) ++entry_count;
  closedir(directory);
  if (entry_count <= 2) return absl::OkStatus();  // "." and "..".
  return absl::AlreadyExistsError(
      absl::StrCat(Printable(path), ": the directory is not empty; name a new one"));
}

}  // namespace ebb::model
