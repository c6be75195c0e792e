// Vmm: addresses and memory as two things, in the shape of the CUDA driver's virtual memory calls.
//
//   Reserve ---- addresses, no memory ------------------------------------------ Free
//              Create ---- memory, no address ------------------------- Release
//                       Map ---- memory at an address, no access -- Unmap
//                             SetAccess: loads and stores work
//
// Rules, the driver's and therefore everyone's:
//   - sizes and addresses are multiples of granularity_bytes();
//   - Unmap takes exactly the range of one Map; SetAccess may span several adjacent mappings;
//   - a fresh mapping has no access, and what it holds is undefined;
//   - memory goes back only when its handle is released and its mapping is gone;
//   - no call waits for work that still touches a range: the caller must know that none does.
//
// Forms: HostVmm (mmap), CudaVmm (the driver), GatedVmm (edits only while no work runs), FakeVmm
// (enforces the rules, fails on demand).
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ebb::device {

// Names memory that Create gave. 0 names none.
using VmmHandle = uint64_t;

// Thread-safe. Every call may be slow: none is made under a lock that others wait for.
class Vmm {
 public:
  virtual ~Vmm() = default;

  // What sizes and addresses are multiples of. A power of two.
  virtual int64_t granularity_bytes() const = 0;

  // Reserves addresses, aligned to the granularity. RESOURCE_EXHAUSTED when none are left.
  virtual absl::StatusOr<uint8_t*> Reserve(int64_t bytes) = 0;
  // REQUIRES: the range came from Reserve and nothing is mapped in it.
  virtual absl::Status Free(uint8_t* address, int64_t bytes) = 0;

  // Takes memory from the device. RESOURCE_EXHAUSTED when the device has too little.
  virtual absl::StatusOr<VmmHandle> Create(int64_t bytes) = 0;
  // REQUIRES: the handle is live, of this size, and the range is reserved and not mapped.
  virtual absl::Status Map(uint8_t* address, int64_t bytes, VmmHandle handle) = 0;
  // Opens a range that is mapped without gaps. RESOURCE_EXHAUSTED when the memory cannot be backed
  // after all; then no part of the range may be used until it has been unmapped.
  virtual absl::Status SetAccess(uint8_t* address, int64_t bytes) = 0;
  // REQUIRES: the range is exactly that of one Map, and no submitted work touches it.
  virtual absl::Status Unmap(uint8_t* address, int64_t bytes) = 0;
  // Gives a handle up. Its memory goes back once it is not mapped.
  virtual absl::Status Release(VmmHandle handle) = 0;

  // Bytes that the device could still give, as of now; others may take them meanwhile.
  virtual absl::StatusOr<int64_t> FreeBytes() = 0;

  // Bracket the edits of addresses that belong together: Map, SetAccess and Unmap. A form that must
  // keep them apart from running work waits in BeginEdits for the work to end, and holds new work
  // back until EndEdits. Not nested.
  virtual void BeginEdits() {}
  virtual void EndEdits() {}
};

// The bracket as an object.
class VmmEdits {
 public:
  explicit VmmEdits(Vmm* vmm) : vmm_(vmm) { vmm_->BeginEdits(); }
  ~VmmEdits() { vmm_->EndEdits(); }
  VmmEdits(const VmmEdits&) = delete;
  VmmEdits& operator=(const VmmEdits&) = delete;

 private:
  Vmm* const vmm_;
};

}  // namespace ebb::device
