// FakeVmm: a device for tests that ends the process when a rule of vmm.h is broken.
//
// Enforced by CHECK: sizes and addresses are multiples of the granularity, Unmap takes a whole
// mapping, SetAccess covers mapped memory only, nothing is mapped twice, handles are live and of
// the right size, nothing is mapped or unmapped under work that is in flight (BeginUse), and at
// destruction nothing is left.
//
// Failures are asked for: the n-th next call of a kind, each call of a kind by chance, or a lost
// device. A failed call changes nothing.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "base/rng.h"
#include "device/vmm.h"

namespace ebb::device {

enum class VmmCall { kReserve, kFree, kCreate, kMap, kSetAccess, kUnmap, kRelease, kFreeBytes };
inline constexpr int kVmmCallCount = 8;

// Thread-safe.
class FakeVmm final : public Vmm {
 public:
  struct Options {
    int64_t granularity_bytes = 4096;
    int64_t capacity_bytes = int64_t{1} << 30;
    // Gives ranges real memory: stores work after SetAccess, fault before it and after Unmap, and
    // fresh memory is filled with 0xFF (NaN in every float type), for a device's is undefined.
    // REQUIRES: the granularity is a multiple of the system's page.
    bool backed = false;
  };
  explicit FakeVmm(Options options);
  // CHECKs that every handle is released, every mapping gone, every range freed, no use open.
  ~FakeVmm() override;
  FakeVmm(const FakeVmm&) = delete;
  FakeVmm& operator=(const FakeVmm&) = delete;

  int64_t granularity_bytes() const override { return options_.granularity_bytes; }
  absl::StatusOr<uint8_t*> Reserve(int64_t bytes) override;
  absl::Status Free(uint8_t* address, int64_t bytes) override;
  absl::StatusOr<VmmHandle> Create(int64_t bytes) override;
  absl::Status Map(uint8_t* address, int64_t bytes, VmmHandle handle) override;
  absl::Status SetAccess(uint8_t* address, int64_t bytes) override;
  absl::Status Unmap(uint8_t* address, int64_t bytes) override;
  absl::Status Release(VmmHandle handle) override;
  absl::StatusOr<int64_t> FreeBytes() override;

  // ---- what a test asks for

  // The nth next call of this kind fails (1 is the very next); others after it work again.
  void FailNth(VmmCall call, int64_t nth);
  // Each call of this kind fails with this probability, drawn from a generator of its own.
  void FailByChance(VmmCall call, double probability, uint64_t seed);
  // Takes back FailNth and FailByChance of every kind.
  void StopFailing();
  // The device is lost for good: Unmap, Release and Free work, as CudaVmm's do, all other calls
  // answer with the mark of device_lost.h.
  void LoseDevice(const std::string& text);
  // Called at the start of every call, with no lock held: to make calls slow (move a FakeClock), to
  // let a peer take memory at the worst moment, to count. Set before other threads call.
  void SetBeforeCall(std::function<void(VmmCall)> before_call);
  // Another process holds this many bytes of the capacity from now on.
  void SetPeerBytes(int64_t bytes);

  // Work in flight touches this range. CHECKs that all of it is open. Returns a name for EndUse.
  uint64_t BeginUse(const uint8_t* address, int64_t bytes);
  void EndUse(uint64_t use);
  // CHECKs that the whole range can be accessed now.
  void CheckOpen(const uint8_t* address, int64_t bytes);

  // ---- what a test looks at

  const Options& options() const { return options_; }
  int64_t created_bytes() const;  // Created and not given back.
  int64_t mapped_bytes() const;
  int64_t call_count(VmmCall call) const;
  int64_t failed_count(VmmCall call) const;  // By what was asked for, but a lost device.

 private:
  struct Memory {
    int64_t bytes = 0;
    bool released = false;
    bool mapped = false;
  };
  struct Mapping {
    int64_t bytes = 0;
    VmmHandle handle = 0;
    bool open = false;
  };
  struct Use {
    const uint8_t* address = nullptr;
    int64_t bytes = 0;
  };
  struct Failure {
    int64_t in_calls = 0;  // 0: none.
    double probability = 0;
    std::optional<base::Rng> rng;
  };

  // Counts the call and says whether it must fail.
  absl::Status Enter(VmmCall call);
  void CheckAligned(const uint8_t* address, int64_t bytes) const;
  void CheckUnused(const uint8_t* address, int64_t bytes) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CheckOpenLocked(const uint8_t* address, int64_t bytes) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void GiveBackIfGone(VmmHandle handle) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  std::function<void(VmmCall)> before_call_;
  mutable base::Mutex mutex_;
  std::map<const uint8_t*, int64_t> ranges_ ABSL_GUARDED_BY(mutex_);
  std::map<const uint8_t*, Mapping> mappings_ ABSL_GUARDED_BY(mutex_);
  std::map<VmmHandle, Memory> memory_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, Use> uses_ ABSL_GUARDED_BY(mutex_);
  std::array<Failure, kVmmCallCount> failures_ ABSL_GUARDED_BY(mutex_);
  absl::Status loss_ ABSL_GUARDED_BY(mutex_);
  std::array<int64_t, kVmmCallCount> call_counts_ ABSL_GUARDED_BY(mutex_) = {};
  std::array<int64_t, kVmmCallCount> failed_counts_ ABSL_GUARDED_BY(mutex_) = {};
  int64_t created_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t peer_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  VmmHandle next_handle_ ABSL_GUARDED_BY(mutex_) = 1;
  uint64_t next_use_ ABSL_GUARDED_BY(mutex_) = 1;
  uintptr_t next_address_ ABSL_GUARDED_BY(mutex_) = uintptr_t{1} << 44;
};

}  // namespace ebb::device
