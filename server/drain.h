// DrainSwitch: how the server is told to end, by a signal, by the Drain call or by a lost device.
//
//   first request of a drain      main wakes up and drains with that grace
//   each later, shorter one       the drain hurries
//
// A request may ask for a delay first, in which new requests are still taken: load balancers need
// seconds to notice that a server is not ready. A later one with a shorter delay cuts it short.
//
// SignalThread turns SIGTERM and SIGINT into requests: the first with the configured grace and
// delay, each later one with none.
#pragma once

#include <functional>
#include <optional>
#include <thread>

#include "absl/time/time.h"
#include "base/mutex.h"

namespace ebb::server {

// Thread-safe.
class DrainSwitch {
 public:
  // Starts a drain that begins after `delay` and gives running requests `grace`, or hurries the one
  // under way. Returns at once.
  void Request(absl::Duration grace, absl::Duration delay = absl::ZeroDuration());
  bool requested() const;

  // Waits for the first request; the delay it asked for.
  absl::Duration WaitForRequest();
  // Waits until that delay is over or cut short; the grace to give. REQUIRES: WaitForRequest has
  // returned.
  absl::Duration WaitOutDelay();

  // Calls `hurry` with the new grace, each time that a shorter one is requested after
  // WaitOutDelay has returned, until Stop. Blocks: it is given a thread.
  void ServeHurries(const std::function<void(absl::Duration)>& hurry);
  void Stop();

 private:
  mutable base::Mutex mutex_;
  base::CondVar changed_;
  std::optional<absl::Duration> grace_ ABSL_GUARDED_BY(mutex_);
  absl::Duration delay_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteDuration();
  absl::Duration served_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteDuration();
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

// Blocks SIGTERM and SIGINT for this thread and all that it makes later, and ignores SIGPIPE. To be
// called before the first thread is made.
void BlockSignals();

// Takes the blocked signals on a thread of its own; there is no work in a handler.
class SignalThread {
 public:
  SignalThread(DrainSwitch* drain, absl::Duration grace, absl::Duration delay);
  ~SignalThread();
  SignalThread(const SignalThread&) = delete;
  SignalThread& operator=(const SignalThread&) = delete;

 private:
  void Run(DrainSwitch* drain, absl::Duration grace, absl::Duration delay);

  int stop_fd_;    // An eventfd; readable when the thread is to end.
  int signal_fd_;  // A signalfd.
  std::thread thread_;
};

}  // namespace ebb::server
