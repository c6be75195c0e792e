#include "device/vmm_host.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/checked.h"
#include "base/status_macros.h"

// Linux 5.14; older headers lack it, older kernels answer EINVAL.
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace ebb::device {
namespace {

// The size of a transparent huge page on x86-64 and on arm64 with 4 KiB pages. Other hosts only
// lose the speed of huge pages, for 2 MiB is a multiple of every smaller page size.
constexpr int64_t kGranularityBytes = int64_t{2} << 20;

absl::Status SystemError(absl::string_view call, int error) {
  const std::string text = absl::StrCat(call, ": ", std::strerror(error));
  return error == ENOMEM ? absl::ResourceExhaustedError(text) : absl::InternalError(text);
}

void CheckAligned(const uint8_t* address, int64_t bytes) {
  CHECK_GT(bytes, 0);
  CHECK_EQ(bytes % kGranularityBytes, 0);
  CHECK_EQ(reinterpret_cast<uintptr_t>(address) % kGranularityBytes, 0u);
}

// Backs an accessible range with memory.
absl::Status Populate(uint8_t* address, int64_t bytes, int64_t system_page_bytes) {
  // Advice only: without huge pages the range works as well.
  (void)madvise(address, bytes, MADV_HUGEPAGE);
  int result = 0;
  do {
    result = madvise(address, bytes, MADV_POPULATE_WRITE);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return absl::OkStatus();
  if (errno != EINVAL) return SystemError("madvise(MADV_POPULATE_WRITE)", errno);
  for (int64_t offset = 0; offset < bytes; offset += system_page_bytes) {
    *const_cast<volatile uint8_t*>(address + offset) = 0;
  }
  return absl::OkStatus();
}

// Takes access and memory away. Access first: a stray store in between must not bring a page back.
absl::Status Close(uint8_t* address, int64_t bytes) {
  if (mprotect(address, bytes, PROT_NONE) != 0) return SystemError("mprotect(PROT_NONE)", errno);
  if (madvise(address, bytes, MADV_DONTNEED) != 0) {
    return SystemError("madvise(MADV_DONTNEED)", errno);
  }
  return absl::OkStatus();
}

}  // namespace

HostVmm::HostVmm(HostMemoryFiles files)
    : files_(std::move(files)), system_page_bytes_(sysconf(_SC_PAGESIZE)) {
  CHECK_GT(system_page_bytes_, 0);
  CHECK_EQ(kGranularityBytes % system_page_bytes_, 0);
}

HostVmm::~HostVmm() {
  base::MutexLock lock(&mutex_);
  CHECK(stuck_ || mappings_.empty()) << mappings_.size() << " mappings are left";
  CHECK(stuck_ || promises_.empty()) << promises_.size() << " handles are left";
  for (const auto& [address, bytes] : ranges_) munmap(address, bytes);
}

int64_t HostVmm::granularity_bytes() const { return kGranularityBytes; }

absl::StatusOr<uint8_t*> HostVmm::Reserve(int64_t bytes) {
  CheckAligned(nullptr, bytes);
  // The kernel aligns to its own page: ask for one granule more and give the ends back.
  const base::Checked asked = base::Checked(bytes) + base::Checked(kGranularityBytes);
  CHECK(asked.valid());
  void* const raw =
      mmap(nullptr, asked.value(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) return SystemError(absl::StrCat("mmap of ", bytes, " bytes"), errno);
  uint8_t* const start = static_cast<uint8_t*>(raw);
  const int64_t head =
      (kGranularityBytes - reinterpret_cast<uintptr_t>(start) % kGranularityBytes) %
      kGranularityBytes;
  uint8_t* const address = start + head;
  if (head > 0) munmap(start, head);
  munmap(address + bytes, kGranularityBytes - head);
  // What clients said does not go into core dumps, nor do gigabytes. Linux has known it since 3.4.
  (void)madvise(address, bytes, MADV_DONTDUMP);
  base::MutexLock lock(&mutex_);
  ranges_[address] = bytes;
  return address;
}

absl::Status HostVmm::Free(uint8_t* address, int64_t bytes) {
  base::MutexLock lock(&mutex_);
  const auto range = ranges_.find(address);
  CHECK(range != ranges_.end() && range->second == bytes);
  const auto inside = mappings_.lower_bound(address);
  CHECK(inside == mappings_.end() || inside->first >= address + bytes) << "still mapped";
  if (munmap(address, bytes) != 0) return SystemError("munmap", errno);
  ranges_.erase(range);
  return absl::OkStatus();
}

absl::StatusOr<VmmHandle> HostVmm::Create(int64_t bytes) {
  CheckAligned(nullptr, bytes);
  ASSIGN_OR_RETURN(const int64_t host_free, HostFreeBytes(files_));
  base::MutexLock lock(&mutex_);
  const int64_t free = host_free - PromisedBytes();
  if (bytes > free) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the host can give ", free, " bytes, ", bytes, " are asked for"));
  }
  promises_[next_handle_].bytes = bytes;
  return next_handle_++;
}

absl::Status HostVmm::Map(uint8_t* address, int64_t bytes, VmmHandle handle) {
  CheckAligned(address, bytes);
  base::MutexLock lock(&mutex_);
  const auto promise = promises_.find(handle);
  CHECK(promise != promises_.end() && !promise->second.released && !promise->second.mapped);
  CHECK_EQ(promise->second.bytes, bytes);
  auto range = ranges_.upper_bound(address);
  CHECK(range != ranges_.begin()) << "not reserved";
  --range;
  CHECK(address + bytes <= range->first + range->second) << "not reserved";
  const auto next = mappings_.lower_bound(address);
  CHECK(next == mappings_.end() || next->first >= address + bytes) << "mapped already";
  CHECK(next == mappings_.begin() ||
        std::prev(next)->first + std::prev(next)->second.bytes <= address)
      << "mapped already";
  mappings_[address] = Mapping{bytes, handle, false};
  promise->second.mapped = true;
  return absl::OkStatus();
}

absl::Status HostVmm::SetAccess(uint8_t* address, int64_t bytes) {
  CheckAligned(address, bytes);
  std::vector<uint8_t*> closed;
  int64_t closed_bytes = 0;
  {
    base::MutexLock lock(&mutex_);
    uint8_t* next = address;
    while (next < address + bytes) {
      const auto mapping = mappings_.find(next);
      CHECK(mapping != mappings_.end()) << "not mapped";
      if (!mapping->second.open) {
        closed.push_back(next);
        closed_bytes += mapping->second.bytes;
      }
      next += mapping->second.bytes;
    }
    CHECK_EQ(next, address + bytes);
  }
  if (closed.empty()) return absl::OkStatus();
  // Create looked, but that may be long ago, and too much is not an error but the end.
  ASSIGN_OR_RETURN(const int64_t host_free, HostFreeBytes(files_));
  if (closed_bytes > host_free) {
    return absl::ResourceExhaustedError(absl::StrCat("the host can give ", host_free, " bytes, ",
                                                     closed_bytes, " are to be backed"));
  }
  // Outside the lock: backing takes milliseconds, and FreeBytes is asked meanwhile.
  absl::Status status;
  if (mprotect(address, bytes, PROT_READ | PROT_WRITE) != 0) {
    status = SystemError("mprotect(PROT_READ | PROT_WRITE)", errno);
  } else {
    status = Populate(address, bytes, system_page_bytes_);
  }
  base::MutexLock lock(&mutex_);
  for (uint8_t* const start : closed) {
    Mapping& mapping = mappings_.at(start);
    mapping.open = status.ok();
    if (!status.ok()) (void)Close(start, mapping.bytes);
  }
  return status;
}

absl::Status HostVmm::Unmap(uint8_t* address, int64_t bytes) {
  base::MutexLock lock(&mutex_);
  const auto mapping = mappings_.find(address);
  CHECK(mapping != mappings_.end() && mapping->second.bytes == bytes) << "not a whole mapping";
  if (absl::Status closed = Close(address, bytes); !closed.ok()) {
    stuck_ = true;
    return closed;
  }
  const auto promise = promises_.find(mapping->second.handle);
  promise->second.mapped = false;
  if (promise->second.released) promises_.erase(promise);
  mappings_.erase(mapping);
  return absl::OkStatus();
}

absl::Status HostVmm::Release(VmmHandle handle) {
  base::MutexLock lock(&mutex_);
  const auto promise = promises_.find(handle);
  CHECK(promise != promises_.end() && !promise->second.released) << "handle " << handle;
  promise->second.released = true;
  if (!promise->second.mapped) promises_.erase(promise);
  return absl::OkStatus();
}

absl::StatusOr<int64_t> HostVmm::FreeBytes() {
  ASSIGN_OR_RETURN(const int64_t host_free, HostFreeBytes(files_));
  base::MutexLock lock(&mutex_);
  return std::max<int64_t>(0, host_free - PromisedBytes());
}

int64_t HostVmm::PromisedBytes() const {
  int64_t bytes = 0;
  for (const auto& [handle, promise] : promises_) bytes += promise.bytes;
  for (const auto& [address, mapping] : mappings_) {
    if (mapping.open) bytes -= mapping.bytes;
  }
  return bytes;
}

}  // namespace ebb::device
