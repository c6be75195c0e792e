// Wakeups: how the engine's actors learn that something changed, without polling.
//
//   seen = wakeups.Version(actor);      each Wake(actor) adds one
//   if (!actor.RunOnce().progressed)    RunOnce sees everything that happened before `seen`
//     wakeups.WaitPast(actor, seen, timeout);
#pragma once

#include <array>
#include <chrono>
#include <cstdint>

#include "absl/time/time.h"
#include "base/mutex.h"

namespace ebb::engine {

enum class Actor { kPrefill, kDecode, kKeeper, kSwap };
inline constexpr int kActorCount = 4;

// What one RunOnce of an actor came to.
struct Pass {
  bool progressed = false;  // Something changed: run again.
  // If not: run again at this time at the latest, or when woken.
  absl::Time next_run = absl::InfiniteFuture();
};

// Thread-safe. A leaf: no other lock is taken while its own is held.
class Wakeups {
 public:
  void Wake(Actor actor) {
    Slot& slot = slots_[static_cast<int>(actor)];
    base::MutexLock lock(&slot.mutex);
    ++slot.version;
    slot.changed.SignalAll();
  }
  void WakeAll() {
    for (int i = 0; i < kActorCount; ++i) Wake(static_cast<Actor>(i));
  }
  uint64_t Version(Actor actor) {
    Slot& slot = slots_[static_cast<int>(actor)];
    base::MutexLock lock(&slot.mutex);
    return slot.version;
  }
  // Returns once Version(actor) > seen, or `timeout` has passed.
  void WaitPast(Actor actor, uint64_t seen, absl::Duration timeout) {
    Slot& slot = slots_[static_cast<int>(actor)];
    base::MutexLock lock(&slot.mutex);
    if (timeout == absl::InfiniteDuration()) {
      while (slot.version <= seen) slot.changed.Wait(&slot.mutex);
      return;
    }
    const std::chrono::nanoseconds bounded =
        absl::ToChronoNanoseconds(std::min(timeout, absl::Hours(1)));
    if (slot.version <= seen && bounded.count() > 0) slot.changed.WaitFor(&slot.mutex, bounded);
  }

 private:
  struct Slot {
    base::Mutex mutex;
    base::CondVar changed;
    uint64_t version ABSL_GUARDED_BY(mutex) = 0;
  };
  std::array<Slot, kActorCount> slots_;
};

}  // namespace ebb::engine
