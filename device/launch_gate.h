// LaunchGate: keeps address edits and running work apart, where it is not known that a device
// stands the two side by side.
//
//   loops:   BeginLaunch  [ a step runs ]  EndLaunch      any number at once
//   keeper:                          Close [ edits ] Open      none runs meanwhile
//
// Close lets what runs end and holds new launches back; Open lets them go on. So the longest a
// launch waits is the rest of the other streams' steps and the edits.
#pragma once

#include <cstdint>

#include "base/mutex.h"

namespace ebb::device {

// Thread-safe.
class LaunchGate {
 public:
  LaunchGate() = default;
  LaunchGate(const LaunchGate&) = delete;
  LaunchGate& operator=(const LaunchGate&) = delete;

  // Waits while the gate is closed. Each is matched by one EndLaunch, from any thread, when the
  // work has completed.
  void BeginLaunch();
  void EndLaunch();

  // Waits until no launch is open. REQUIRES: the gate is open, and the caller has no launch open.
  void Close();
  void Open();
  bool closed() const;

 private:
  mutable base::Mutex mutex_;
  base::CondVar changed_;
  int64_t open_launches_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace ebb::device
