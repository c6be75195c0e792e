// FileDescriptor: an open file, closed with it.
#pragma once

#include <unistd.h>

namespace ebb::base {

class FileDescriptor {
 public:
  // Negative: none.
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;

  int get() const { return fd_; }

 private:
  const int fd_;
};

}  // namespace ebb::base
