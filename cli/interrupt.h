// Interrupt: Ctrl-C, as a call to cancel instead of the end of the process.
//
//   SIGINT, SIGTERM ──> SignalThread ──Trigger──> Interrupt ──> every Scope's callback (TryCancel)
#pragma once

#include <functional>
#include <map>
#include <thread>

#include "absl/time/time.h"
#include "base/mutex.h"

namespace ebb::cli {

// Thread-safe. Triggered at most once, and stays so.
class Interrupt {
 public:
  Interrupt() = default;
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  // False if there was nothing to cancel.
  bool Trigger() ABSL_LOCKS_EXCLUDED(mutex_);
  bool triggered() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Returns when it is triggered, after `timeout` at the latest: whether it is.
  bool WaitFor(absl::Duration timeout) const ABSL_LOCKS_EXCLUDED(mutex_);

  // While it lives, a trigger calls `callback`, from another thread; at once if it has come
  // already. The callback is over when the destructor returns. It must not make or end a Scope.
  class Scope {
   public:
    Scope(Interrupt* interrupt, std::function<void()> callback);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Interrupt* const interrupt_;
    int id_ = 0;
  };

 private:
  mutable base::Mutex mutex_;
  mutable base::CondVar changed_;
  bool triggered_ ABSL_GUARDED_BY(mutex_) = false;
  int next_id_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<int, std::function<void()>> callbacks_ ABSL_GUARDED_BY(mutex_);
};

// Turns SIGINT and SIGTERM into a trigger. If that cancels nothing, as while we wait for somebody
// to type, and on a second signal, the process ends at once. Made by main before any other thread,
// since threads inherit which signals they block.
class SignalThread {
 public:
  explicit SignalThread(Interrupt* interrupt);
  ~SignalThread();
  SignalThread(const SignalThread&) = delete;
  SignalThread& operator=(const SignalThread&) = delete;

 private:
  std::thread thread_;
};

}  // namespace ebb::cli
