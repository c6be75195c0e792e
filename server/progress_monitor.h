// ProgressMonitor: whether this server is alive, ready, and getting on.
//
//   live    nothing hangs; else restart the process
//   ready   live, not draining, and the device works: requests may be sent here
//   stalled requests run, and no step has completed for longer than the threshold
//
// A server that is merely busy is ready: its queue says when it is full.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "engine/engine.h"

namespace ebb::server {

enum class HealthState { kReady, kDraining, kStalled, kDeviceLost };

// "ready", "draining", "stalled", "device_lost".
const char* HealthStateName(HealthState state);

struct HealthReport {
  HealthState state = HealthState::kReady;
  int64_t running_requests = 0;
  absl::Duration last_step_age;
  absl::Duration threshold;  // Infinite: never stalled.

  bool ready() const { return state == HealthState::kReady; }
  bool live() const { return ready() || state == HealthState::kDraining; }
  // {"status":"ready","running":3,"last_step_age_seconds":0.02,"threshold_seconds":60}
  std::string Json() const;
};

// Thread-safe. Never waits for a step.
class ProgressMonitor {
 public:
  // `engine` outlives it. A threshold of zero: never stalled.
  ProgressMonitor(const engine::Engine* engine, absl::Duration threshold)
      : engine_(engine),
        threshold_(threshold > absl::ZeroDuration() ? threshold : absl::InfiniteDuration()) {}

  HealthReport Check() const;

  // From here on not ready. For good.
  void SetDraining() { draining_ = true; }
  bool draining() const { return draining_; }

 private:
  const engine::Engine* const engine_;
  const absl::Duration threshold_;
  std::atomic<bool> draining_ = false;
};

}  // namespace ebb::server
