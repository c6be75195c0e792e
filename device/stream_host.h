// HostStream: a Stream that is one thread.
#pragma once

#include <deque>
#include <thread>

#include "base/mutex.h"
#include "device/stream.h"

namespace ebb::device {

// Thread-safe. The destructor runs what is queued, then joins the thread.
class HostStream final : public Stream {
 public:
  explicit HostStream(OnCompleted on_completed = nullptr);
  ~HostStream() override;
  HostStream(const HostStream&) = delete;
  HostStream& operator=(const HostStream&) = delete;

  Ticket Launch(Work work) override;
  Ticket submitted() const override;
  Ticket completed() const override;
  void Wait(Ticket ticket) override;

 private:
  void Run();

  const OnCompleted on_completed_;
  mutable base::Mutex mutex_;
  base::CondVar changed_;
  std::deque<Work> queue_ ABSL_GUARDED_BY(mutex_);
  Ticket submitted_ ABSL_GUARDED_BY(mutex_) = 0;
  Ticket completed_ ABSL_GUARDED_BY(mutex_) = 0;
  Ticket reported_ ABSL_GUARDED_BY(mutex_) = 0;  // OnCompleted has returned.
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // Must be the last member: it uses the others.
};

}  // namespace ebb::device
