#include "model/byte_source.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/load_error.h"

namespace ebb::model {
namespace {

constexpr uint64_t kReadBytesMax = uint64_t{1} << 30;  // Linux reads at most 2 GiB at once.

// strerror_r as glibc declares it with _GNU_SOURCE: the result may lie outside `buffer`.
std::string ErrnoText(int error) {
  char buffer[128];
  return strerror_r(error, buffer, sizeof(buffer));
}

class PosixFile final : public ByteSource {
 public:
  PosixFile(std::string name, int descriptor, uint64_t size)
      : name_(std::move(name)), descriptor_(descriptor), size_(size) {}
  ~PosixFile() override { close(descriptor_); }
  PosixFile(const PosixFile&) = delete;
  PosixFile& operator=(const PosixFile&) = delete;

  const std::string& name() const override { return name_; }
  uint64_t size() const override { return size_; }

  absl::Status ReadAt(uint64_t offset, absl::Span<uint8_t> out) const override {
    while (!out.empty()) {
      const size_t want = static_cast<size_t>(std::min<uint64_t>(out.size(), kReadBytesMax));
      const ssize_t got = pread(descriptor_, out.data(), want, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) {
        return LoadError(absl::StatusCode::kDataLoss, name_, "io", static_cast<int64_t>(offset),
                         absl::StrCat("reading failed: ", ErrnoText(errno),
                                      ". Check the disk, or copy the file elsewhere."));
      }
      if (got == 0) {
        return LoadError(absl::StatusCode::kDataLoss, name_, "io", static_cast<int64_t>(offset),
                         "the file became shorter while it was read. Do not replace a model file "
                         "in place: write a new one and rename it.");
      }
      out.remove_prefix(static_cast<size_t>(got));
      offset += static_cast<uint64_t>(got);
    }
    return absl::OkStatus();
  }

 private:
  const std::string name_;
  const int descriptor_;
  const uint64_t size_;
};

absl::Status OpenError(const std::string& path, int error) {
  const std::string text = ErrnoText(error);
  if (error == ENOENT || error == ENOTDIR) {
    return LoadError(absl::StatusCode::kNotFound, path, "not_found", kNoOffset,
                     "there is no such file. Check the path of the model.");
  }
  if (error == EACCES || error == EPERM) {
    return LoadError(absl::StatusCode::kPermissionDenied, path, "not_a_model", kNoOffset,
                     "this user may not read it. Give the server's user read permission.");
  }
  return LoadError(absl::StatusCode::kInvalidArgument, path, "not_a_model", kNoOffset,
                   absl::StrCat("it cannot be opened: ", text,
                                ". Name a GGUF file or a Hugging Face directory."));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ByteSource>> OpenFile(const std::string& path) {
  // A path from a setting can hold a NUL, behind which the system would not look.
  if (path.find('\0') != std::string::npos) return OpenError(path, EINVAL);
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (descriptor < 0) return OpenError(path, errno);
  struct stat info;
  if (fstat(descriptor, &info) != 0) {
    const int error = errno;
    close(descriptor);
    return OpenError(path, error);
  }
  if (!S_ISREG(info.st_mode)) {
    close(descriptor);
    return LoadError(
        absl::StatusCode::kInvalidArgument, path, "not_a_model", kNoOffset,
        absl::StrCat(S_ISDIR(info.st_mode) ? "it is a directory" : "it is no plain file",
                     ". Name a GGUF file or a Hugging Face directory."));
  }
  return std::make_unique<PosixFile>(path, descriptor, static_cast<uint64_t>(info.st_size));
}

}  // namespace ebb::model
