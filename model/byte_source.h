// ByteSource: a file of known size, read at offsets into memory of the caller.
//
// Files are read, never mapped: a mapped file that another process cuts short kills us with SIGBUS,
// a read of it is an error that we can report.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace ebb::model {

// Thread-safe.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // For messages; a path, usually.
  virtual const std::string& name() const = 0;
  virtual uint64_t size() const = 0;
  // Fills `out` from `offset`. DATA_LOSS (reason=io) when the bytes cannot all be read.
  virtual absl::Status ReadAt(uint64_t offset, absl::Span<uint8_t> out) const = 0;
};

// Opens a regular file without waiting (a FIFO or a device is refused, not waited for).
// NOT_FOUND, PERMISSION_DENIED, or INVALID_ARGUMENT (reason=not_a_model).
absl::StatusOr<std::unique_ptr<ByteSource>> OpenFile(const std::string& path);

}  // namespace ebb::model
