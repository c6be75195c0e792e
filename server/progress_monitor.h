// ProgressMonitor: whether new requests should be sent here.
//
//   ready        yes, however busy: the queue says when it is full
//   draining     the server was told to end
//   stalled      requests run, and for longer than the threshold nothing has come out
//   device_lost  nothing computes in this process any more
//
// One thread asks the engine, again and again, and may wait there; whoever wants to know is told
// what it heard last, and a thread that gets no answer for longer than the threshold says that the
// engine is stalled, too.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "engine/engine.h"

namespace ebb::server {

enum class HealthState { kReady, kDraining, kStalled, kDeviceLost };
inline constexpr HealthState kHealthStates[] = {HealthState::kReady, HealthState::kDraining,
                                                HealthState::kStalled, HealthState::kDeviceLost};

// "ready", "draining", "stalled", "device_lost".
const char* HealthStateName(HealthState state);

struct HealthReport {
  HealthState state = HealthState::kReady;
  std::string message;  // For people, also clients: why it is in this state.

  bool ready() const { return state == HealthState::kReady; }
};

// Thread-safe. Everything passed in outlives it.
class ProgressMonitor {
 public:
  // A threshold of zero: never stalled.
  ProgressMonitor(const engine::Engine* engine, const base::Clock* clock, absl::Duration threshold);

  // Asks the engine. To be called by one thread, a few times within the threshold.
  void Poll();

  // Waits for nobody.
  HealthReport Check() const;

  // From here on not ready. For good.
  void SetDraining();
  bool draining() const;

 private:
  bool IsStalled(absl::Duration silence) const { return silence > threshold_; }

  const engine::Engine* const engine_;
  const base::Clock* const clock_;
  const absl::Duration threshold_;
  mutable base::Mutex mutex_;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  // When the engine was asked; infinite when it has answered.
  absl::Time asked_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  // What it answered last.
  absl::Status health_ ABSL_GUARDED_BY(mutex_);
  int64_t running_requests_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Duration last_step_age_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();
};

}  // namespace ebb::server
