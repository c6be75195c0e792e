// CallPump: one thread that hands answers to gRPC.
//
// A sink is called by the engine between two steps, and a gRPC write may cost a system call: so the
// sink only notes that its call has something new, and the pump's thread does the writing. A call
// waits in the pump at most once, however many tokens came; so the queue is no longer than there
// are live calls, and a step's tokens for all calls cost one wake-up.
#pragma once

#include <deque>
#include <memory>
#include <thread>

#include "base/mutex.h"

namespace ebb::server {

class PumpTask {
 public:
  virtual ~PumpTask() = default;
  // On the pump's thread. Must not block.
  virtual void RunFromPump() = 0;
};

// Thread-safe.
class CallPump {
 public:
  CallPump() : thread_([this] { Run(); }) {}
  // Runs what is queued.
  ~CallPump();
  CallPump(const CallPump&) = delete;
  CallPump& operator=(const CallPump&) = delete;

  // `task` is run soon, by one thread, in the order of posting.
  void Post(std::shared_ptr<PumpTask> task);

 private:
  void Run();

  base::Mutex mutex_;
  base::CondVar not_empty_;
  std::deque<std::shared_ptr<PumpTask>> tasks_ ABSL_GUARDED_BY(mutex_);
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // Must be the last member: it uses the others.
};

}  // namespace ebb::server
