// FileKvCopier: keeps keys and values in a file that has no name, for a device whose memory is the
// host's: swapping into memory would save nothing.
//
// What is written goes to the disk at once and leaves the page cache, so that the memory is free
// and the time measured is the disk's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/file_descriptor.h"
#include "engine/kv_copier.h"
#include "kernels/paged_kv.h"

namespace ebb::engine {

class FileKvCopier final : public KvCopier {
 public:
  // Makes a file in `directory` and unlinks it: it goes with the process. What the system says,
  // with the path, when it cannot.
  static absl::StatusOr<std::unique_ptr<FileKvCopier>> Create(const std::string& directory,
                                                              const kernels::PagedKv& kv);

  // Room on the disk is taken here, so that no write lacks any.
  absl::Status AddChunk(int32_t chunk, int64_t bytes) override;
  void DropChunk(int32_t chunk) override;
  absl::Status CopyOut(absl::Span<const SlotCopy> copies) override;
  absl::Status CopyIn(absl::Span<const SlotCopy> copies) override;
  const CopierTraits& traits() const override { return traits_; }

 private:
  FileKvCopier(int file, const kernels::PagedKv& kv);
  int64_t OffsetOf(memory::SlotId slot) const { return slot * slot_bytes_; }

  const base::FileDescriptor file_;
  const kernels::PagedKv kv_;
  const int64_t slot_bytes_;
  const CopierTraits traits_;
  const int64_t chunk_bytes_;
};

}  // namespace ebb::engine
