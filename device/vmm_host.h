// HostVmm: the Vmm of a CPU server, on mmap.
//
//   Reserve    mmap(PROT_NONE, MAP_NORESERVE), aligned to 2 MiB: addresses only
//   Create     a promise: checked against FreeBytes() and kept in account
//   Map        notes which promise backs which range
//   SetAccess  mprotect, MADV_HUGEPAGE, MADV_POPULATE_WRITE: the memory is there when it returns
//   Unmap      MADV_DONTNEED and PROT_NONE: the resident set falls, and a stray access faults
//
// Populating past a cgroup's limit is no error but a SIGKILL, so both Create and SetAccess first
// compare with what the system and every cgroup on the path to the root still allow.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "device/host_memory.h"
#include "device/vmm.h"

namespace ebb::device {

// Thread-safe.
class HostVmm final : public Vmm {
 public:
  explicit HostVmm(HostMemoryFiles files = {});
  // REQUIRES: everything is released and freed, but for what the kernel would not take back.
  ~HostVmm() override;
  HostVmm(const HostVmm&) = delete;
  HostVmm& operator=(const HostVmm&) = delete;

  int64_t granularity_bytes() const override;
  absl::StatusOr<uint8_t*> Reserve(int64_t bytes) override;
  absl::Status Free(uint8_t* address, int64_t bytes) override;
  absl::StatusOr<VmmHandle> Create(int64_t bytes) override;
  absl::Status Map(uint8_t* address, int64_t bytes, VmmHandle handle) override;
  absl::Status SetAccess(uint8_t* address, int64_t bytes) override;
  absl::Status Unmap(uint8_t* address, int64_t bytes) override;
  absl::Status Release(VmmHandle handle) override;
  // What the host can give, less what is promised and not yet backed.
  absl::StatusOr<int64_t> FreeBytes() override;

 private:
  struct Mapping {
    int64_t bytes = 0;
    VmmHandle handle = 0;
    bool open = false;
  };
  struct Promise {
    int64_t bytes = 0;
    bool mapped = false;
    bool released = false;
  };

  // Bytes created and not yet backed by SetAccess.
  int64_t PromisedBytes() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const HostMemoryFiles files_;
  const int64_t system_page_bytes_;
  mutable base::Mutex mutex_;
  std::map<uint8_t*, int64_t> ranges_ ABSL_GUARDED_BY(mutex_);
  std::map<uint8_t*, Mapping> mappings_ ABSL_GUARDED_BY(mutex_);
  std::map<VmmHandle, Promise> promises_ ABSL_GUARDED_BY(mutex_);
  bool stuck_ ABSL_GUARDED_BY(mutex_) = false;  // An Unmap has failed.
  VmmHandle next_handle_ ABSL_GUARDED_BY(mutex_) = 1;
};

}  // namespace ebb::device
