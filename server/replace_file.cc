#include "server/replace_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/file_descriptor.h"
#include "base/status_macros.h"

namespace ebb::server {
namespace {

using base::FileDescriptor;

absl::Status SystemError(const std::string& path, absl::string_view call) {
  return absl::UnavailableError(absl::StrCat(path, ": ", call, ": ", std::strerror(errno)));
}

// That this file is still the one of that name, and nobody else writes to it. Whoever held the lock
// before may have given the file its right name meanwhile: to write to it then would be to change
// what is in place.
absl::Status Lock(const std::string& path, const FileDescriptor& file) {
  struct stat opened = {};
  struct stat named = {};
  if (fstat(file.get(), &opened) != 0) return SystemError(path, "fstat");
  if (!S_ISREG(opened.st_mode)) {
    return absl::UnavailableError(absl::StrCat(path, ": is not a regular file"));
  }
  if (flock(file.get(), LOCK_EX | LOCK_NB) != 0 || stat(path.c_str(), &named) != 0 ||
      named.st_ino != opened.st_ino) {
    return absl::UnavailableError(absl::StrCat(path, ": another process writes it"));
  }
  return absl::OkStatus();
}

absl::Status WriteAll(const std::string& path, const FileDescriptor& file,
                      absl::string_view bytes) {
  if (ftruncate(file.get(), 0) != 0) return SystemError(path, "ftruncate");
  while (!bytes.empty()) {
    const ssize_t count = write(file.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return SystemError(path, "write");
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return fsync(file.get()) == 0 ? absl::OkStatus() : SystemError(path, "fsync");
}

}  // namespace

absl::Status ReplaceFile(const std::string& path, absl::string_view bytes) {
  const std::string made = path + ".new";
  // Not blocking: a pipe is opened at once, and refused.
  const FileDescriptor file(
      open(made.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  if (file.get() < 0) return SystemError(made, "open");
  RETURN_IF_ERROR(Lock(made, file));
  absl::Status written = WriteAll(made, file, bytes);
  if (written.ok() && std::rename(made.c_str(), path.c_str()) != 0) {
    written = SystemError(path, "rename");
  }
  if (!written.ok()) {
    unlink(made.c_str());
    return written;
  }
  // The new name is safe once the directory is.
  const size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const FileDescriptor parent(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (parent.get() < 0 || fsync(parent.get()) != 0) return SystemError(directory, "fsync");
  return absl::OkStatus();
}

}  // namespace ebb::server
