// FakeStream: a Stream whose work runs when the test says so, in the test's own thread.
#pragma once

#include <deque>

#include "base/mutex.h"
#include "device/stream.h"

namespace ebb::device {

// Thread-safe, meant for one thread. What is still queued at destruction never runs.
class FakeStream final : public Stream {
 public:
  explicit FakeStream(OnCompleted on_completed = nullptr);

  Ticket Launch(Work work) override;
  Ticket submitted() const override;
  Ticket completed() const override;
  // Runs everything up to the ticket.
  void Wait(Ticket ticket) override;

  // Runs the next piece of work. False when none waits.
  bool RunNext();
  // Runs until none waits, work that was launched meanwhile too.
  void RunAll();

 private:
  const OnCompleted on_completed_;
  mutable base::Mutex mutex_;
  std::deque<Work> queue_ ABSL_GUARDED_BY(mutex_);
  Ticket submitted_ ABSL_GUARDED_BY(mutex_) = 0;
  Ticket completed_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace ebb::device
