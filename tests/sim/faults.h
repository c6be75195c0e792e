// What goes wrong in a simulated world, and how often it did.
//
//   a call of the device ──> Faults: takes long | others take the memory it saw free | fails
#pragma once

#include <array>
#include <cstdint>

#include "absl/time/time.h"
#include "base/clock_fake.h"
#include "base/rng.h"
#include "device/vmm_fake.h"

namespace ebb::sim {

enum class Fault {
  kCreateFails,
  kMapFails,
  kSetAccessFails,
  kUnmapFails,
  kReleaseFails,
  kFreeBytesFails,
  kThief,  // Others take what is free between a look at it and a create.
  kSlowCall,
  kStepFails,  // As a whole, or for one sequence.
  kStepAbandoned,
  kDeviceLost,
  kLimitMoved,  // Whatever is going on; nobody waits for it.
  kLimitAwaited,
  kCancel,
  kDrain,
  kSwapOutFails,  // Half-way.
  kSwapInFails,
  kSwapRoomFails,
};
inline constexpr int kFaultCount = 18;
const char* FaultName(Fault fault);

using FaultCounts = std::array<int64_t, kFaultCount>;

class Faults {
 public:
  Faults(uint64_t seed, device::FakeVmm* vmm, base::FakeClock* clock)
      : rng_(seed), vmm_(vmm), clock_(clock) {
    slow_chance_ = rng_.Chance(0.3) ? 0.05 : 0;
    thief_chance_ = rng_.Chance(0.3) ? 0.1 : 0;
    vmm_->SetBeforeCall([this](device::VmmCall call) { BeforeCall(call); });
  }

  void Count(Fault fault, int64_t times = 1) { counts_[static_cast<int>(fault)] += times; }
  // Until then calls are quick and nobody takes anything.
  void Pause() { paused_ = true; }
  void GoOn() { paused_ = false; }
  // With the device's own counts.
  FaultCounts counts() const;

 private:
  void BeforeCall(device::VmmCall call) {
    if (paused_) return;
    if (rng_.Chance(slow_chance_)) {
      Count(Fault::kSlowCall);
      clock_->Advance(absl::Milliseconds(rng_.Between(1, 50)));
    }
    if (call == device::VmmCall::kCreate && rng_.Chance(thief_chance_)) {
      Count(Fault::kThief);
      vmm_->SetPeerBytes(vmm_->options().capacity_bytes - vmm_->created_bytes());
    }
  }

  base::Rng rng_;
  device::FakeVmm* const vmm_;
  base::FakeClock* const clock_;
  double slow_chance_ = 0;
  double thief_chance_ = 0;
  bool paused_ = false;
  FaultCounts counts_ = {};
};

}  // namespace ebb::sim
