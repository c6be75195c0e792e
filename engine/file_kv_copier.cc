#include "engine/file_kv_copier.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace ebb::engine {
namespace {

constexpr double kPriorBytesPerSecond = 2e8;

// The whole range, however the system cuts it. `transfer` is pwrite or pread.
template <typename Transfer, typename Byte>
absl::Status All(Transfer transfer, int file, Byte* bytes, int64_t count, int64_t offset,
                 const char* what) {
  while (count > 0) {
    const ssize_t done = transfer(file, bytes, static_cast<size_t>(count), offset);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return absl::ErrnoToStatus(errno, what);
    if (done == 0) return absl::DataLossError(absl::StrCat(what, ": the file ends too early"));
    bytes += done;
    count -= done;
    offset += done;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<FileKvCopier>> FileKvCopier::Create(const std::string& directory,
                                                                   const kernels::PagedKv& kv) {
  std::string path = absl::StrCat(directory, "/ebb_swap_XXXXXX");
  const int file = mkostemp(path.data(), O_CLOEXEC);
  if (file < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("making a swap file in ", directory));
  }
  unlink(path.c_str());
  return std::unique_ptr<FileKvCopier>(new FileKvCopier(file, kv));
}

FileKvCopier::FileKvCopier(int file, const kernels::PagedKv& kv)
    : file_(file),
      kv_(kv),
      slot_bytes_(kv.layers * kv.layer_block_bytes),
      traits_(UsualTraits(slot_bytes_, kPriorBytesPerSecond)),
      chunk_bytes_(traits_.chunk_slots * slot_bytes_) {}

absl::Status FileKvCopier::AddChunk(int32_t chunk, int64_t bytes) {
  if (const int error = posix_fallocate(file_.get(), chunk * chunk_bytes_, bytes); error != 0) {
    return absl::ErrnoToStatus(error, "taking room for the swap file");
  }
  return absl::OkStatus();
}

void FileKvCopier::DropChunk(int32_t chunk) {
  // A file system without holes keeps the room until the process ends: it will be used again.
  (void)fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, chunk * chunk_bytes_,
                  chunk_bytes_);
}

absl::Status FileKvCopier::CopyOut(absl::Span<const SlotCopy> copies) {
  for (const SlotCopy& copy : copies) {
    for (int32_t layer = 0; layer < kv_.layers; ++layer) {
      const uint8_t* const from = kv_.Keys(layer, copy.block);
      RETURN_IF_ERROR(All(pwrite, file_.get(), from, kv_.layer_block_bytes,
                          OffsetOf(copy.slot) + layer * kv_.layer_block_bytes,
                          "writing the swap file"));
    }
  }
  if (fdatasync(file_.get()) != 0) return absl::ErrnoToStatus(errno, "writing the swap file");
  for (const SlotCopy& copy : copies) {
    (void)posix_fadvise(file_.get(), OffsetOf(copy.slot), slot_bytes_, POSIX_FADV_DONTNEED);
  }
  return absl::OkStatus();
}

absl::Status FileKvCopier::CopyIn(absl::Span<const SlotCopy> copies) {
  for (const SlotCopy& copy : copies) {
    for (int32_t layer = 0; layer < kv_.layers; ++layer) {
      RETURN_IF_ERROR(All(pread, file_.get(), kv_.Keys(layer, copy.block), kv_.layer_block_bytes,
                          OffsetOf(copy.slot) + layer * kv_.layer_block_bytes,
                          "reading the swap file"));
    }
    (void)posix_fadvise(file_.get(), OffsetOf(copy.slot), slot_bytes_, POSIX_FADV_DONTNEED);
  }
  return absl::OkStatus();
}

}  // namespace ebb::engine
