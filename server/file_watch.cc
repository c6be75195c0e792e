#include "server/file_watch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file_descriptor.h"

namespace ebb::server {
namespace {

constexpr int64_t kFileBytesMax = int64_t{1} << 20;
constexpr absl::Duration kLookEvery = absl::Seconds(1);

}  // namespace

absl::Status BadFile(absl::string_view setting, absl::string_view path, absl::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat(setting, ": ", path, ": ", problem));
}

absl::StatusOr<std::string> ReadWatchedFile(absl::string_view setting, const std::string& path,
                                            FileReaders readers) {
  const auto bad = [&](absl::string_view problem) { return BadFile(setting, path, problem); };
  // Not blocking: a pipe is opened at once, and refused.
  const base::FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return bad(absl::StrCat("cannot be opened: ", std::strerror(errno)));
  struct stat info = {};
  if (fstat(file.get(), &info) != 0) return bad(std::strerror(errno));
  if (!S_ISREG(info.st_mode)) return bad("is not a regular file");
  if (readers == FileReaders::kNotEverybody && (info.st_mode & S_IROTH) != 0) {
    return bad(absl::StrCat("everybody on this machine can read it; chmod o-r ", path));
  }
  if (info.st_size > kFileBytesMax) {
    return bad(absl::StrCat("is larger than ", kFileBytesMax, " bytes"));
  }
  // One byte more than it should have: a file that grows is read again later.
  const auto bytes = static_cast<size_t>(info.st_size);
  std::string text(bytes + 1, '\0');
  size_t got = 0;
  while (got < text.size()) {
    const ssize_t count = read(file.get(), text.data() + got, text.size() - got);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return bad(std::strerror(errno));
    if (count == 0) break;
    got += static_cast<size_t>(count);
  }
  if (got != bytes) return bad("changed while it was read");
  text.resize(got);
  return text;
}

FileWatch::FileWatch(std::vector<std::string> paths, const base::Clock* clock)
    : paths_(std::move(paths)), clock_(clock), looked_(clock->Now()), seen_(Look()) {}

std::vector<FileWatch::Stamp> FileWatch::Look() const {
  std::vector<Stamp> stamps;
  for (const std::string& path : paths_) {
    struct stat info = {};
    stamps.push_back(stat(path.c_str(), &info) != 0
                         ? Stamp()
                         : Stamp{static_cast<int64_t>(info.st_ino), info.st_size,
                                 info.st_mtim.tv_sec, info.st_mtim.tv_nsec});
  }
  return stamps;
}

bool FileWatch::Changed() {
  const absl::Time now = clock_->Now();
  // Also when the clock was set back.
  if (now >= looked_ && now - looked_ < kLookEvery) return false;
  looked_ = now;
  std::vector<Stamp> stamps = Look();
  if (stamps == seen_) return false;
  seen_ = std::move(stamps);
  return true;
}

}  // namespace ebb::server
