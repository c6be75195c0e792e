// The fake CUDA device: the table of cuda_api.h over host memory and threads, for hosts without a
// GPU. Real kernels run in it (kernels/cuda/simt), queued by the real launching code.
//
//   device memory     host memory, filled with 0xFF (NaN) when it is taken
//   virtual memory    device::FakeVmm, backed: the driver's rules, a fault outside of them
//   streams           a thread each; what is queued runs later, so that a staging buffer that is
//                     reused too early shows; priorities mean nothing
//   graphs            recorded closures, run with what their addresses hold at the launch
//   kernels, copies   run one at a time in a process, each on its stream's thread
//
// As strict as the device: no allocation and no waiting in the thread that captures, none of the
// device's memory to the wrong kind of copy, nothing left when the context closes.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "base/mutex.h"
#include "device/cuda/cuda_api.h"
#include "device/vmm_fake.h"

namespace ebb::device {

struct FakeCudaOptions {
  EbbCudaCode find_code = EBB_CUDA_OK;  // What `find` answers.
  int32_t device_count = 1;
  EbbCudaCode open_code = EBB_CUDA_OK;            // What `open` answers.
  int64_t granularity_bytes = int64_t{64} << 10;  // A multiple of the system's page.
  int64_t capacity_bytes = int64_t{1} << 30;
  int32_t compute_major = 9;
  int32_t compute_minor = 0;
  int32_t sm_count = 8;
  int64_t lose_at_launch = 0;  // As LoseAtLaunch at once; 0: never.
};

// For all contexts opened from now on in this process, and for `find`. Thread-safe.
void SetFakeCudaOptions(const FakeCudaOptions& options);
FakeCudaOptions GetFakeCudaOptions();

// Calls that can be made to fail, beside those of the Vmm: FakeCuda::vmm().FailNth.
enum class FakeCudaCall {
  kAlloc,      // OUT_OF_MEMORY
  kHostAlloc,  // OUT_OF_MEMORY
  kStreamCreate,
  kEventCreate,
  kEventRecord,
  kLaunch,  // Of a kernel or a copy, at the call.
  kCaptureEnd,
  kGraphLaunch,
};
inline constexpr int kFakeCudaCallCount = 8;

// One opened context, as tests see it. Thread-safe.
class FakeCuda {
 public:
  // Of a context that the fake's table opened.
  static FakeCuda& Of(EbbCudaContext* context);

  FakeCuda(const FakeCudaOptions& options, int32_t index);
  // CHECKs that nothing is left, unless the device is lost.
  ~FakeCuda();
  FakeCuda(const FakeCuda&) = delete;
  FakeCuda& operator=(const FakeCuda&) = delete;

  // ---- what a test asks for

  // The nth next call of this kind fails (1 is the very next), with INTERNAL unless said above.
  void FailNth(FakeCudaCall call, int64_t nth);
  // The device is lost at the nth next kernel or copy that would run, instead of it.
  void LoseAtLaunch(int64_t nth);
  void Lose();
  // Between Hold and Release what is queued on the stream waits (on a lost device it does not).
  void Hold(EbbCudaStream* stream);
  void Release(EbbCudaStream* stream);
  // Another process holds this many bytes of the device.
  void SetPeerBytes(int64_t bytes);
  // The rules of virtual memory, its failures and counts; free bytes are read from it, too. Its
  // peer bytes are set by this object, at each allocation.
  FakeVmm& vmm() { return vmm_; }

  // ---- what a test looks at

  bool lost() const { return lost_.load(); }
  int64_t run_count() const;  // Kernels and copies that ran.
  int64_t alloc_bytes() const;
  int64_t host_alloc_bytes() const;

  // ---- the table's side

  const FakeCudaOptions& options() const { return options_; }
  int32_t index() const { return index_; }
  // DEVICE_LOST, or the answer of a failure that was asked for, or OK.
  int32_t Enter() const;
  int32_t Enter(FakeCudaCall call);
  // Before a kernel or copy runs. False: the device is lost, and it does not.
  bool BeginRun();
  int32_t MemoryInfo(int64_t* free_bytes, int64_t* total_bytes);
  int32_t Alloc(int64_t bytes, void** memory);
  int32_t Free(void* memory);
  int32_t HostAlloc(int64_t bytes, void** memory);
  int32_t HostFree(void* memory);
  // Whether all of it is device memory: of one allocation, or of one reserved range.
  bool IsDeviceMemory(const void* memory, int64_t bytes) const;
  bool IsReserved(const void* memory) const;
  void AddStream(EbbCudaStream* stream);
  void RemoveStream(EbbCudaStream* stream);
  std::set<EbbCudaStream*> streams() const;
  void CountObject(int change);  // Events and graphs.
  int32_t Reserve(int64_t bytes, uint8_t** address);
  int32_t FreeRange(uint8_t* address, int64_t bytes);
  int32_t Create(int64_t bytes, uint64_t* handle);
  int32_t Map(uint8_t* address, int64_t bytes, uint64_t handle);
  int32_t SetAccess(uint8_t* address, int64_t bytes);
  int32_t Unmap(uint8_t* address, int64_t bytes);
  int32_t ReleaseHandle(uint64_t handle);

 private:
  void WakeStreams();
  int64_t FreeBytesLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void GiveUpVirtualMemory();

  const FakeCudaOptions options_;
  const int32_t index_;
  FakeVmm vmm_;
  mutable base::Mutex mutex_;
  std::atomic<bool> lost_ = false;
  int64_t lose_in_launches_ ABSL_GUARDED_BY(mutex_) = 0;  // 0: never.
  std::array<int64_t, kFakeCudaCallCount> fail_in_calls_ ABSL_GUARDED_BY(mutex_) = {};
  int64_t run_count_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t peer_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t alloc_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t object_count_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<const uint8_t*, int64_t> allocs_ ABSL_GUARDED_BY(mutex_);
  std::map<const uint8_t*, int64_t> host_allocs_ ABSL_GUARDED_BY(mutex_);
  std::map<uint8_t*, int64_t> ranges_ ABSL_GUARDED_BY(mutex_);
  std::map<uint8_t*, int64_t> mappings_ ABSL_GUARDED_BY(mutex_);
  std::set<uint64_t> handles_ ABSL_GUARDED_BY(mutex_);
  std::set<EbbCudaStream*> streams_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ebb::device
