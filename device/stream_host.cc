#include "device/stream_host.h"

#include <utility>

#include "base/check.h"

namespace ebb::device {

HostStream::HostStream(OnCompleted on_completed)
    : on_completed_(std::move(on_completed)), thread_([this] { Run(); }) {}

HostStream::~HostStream() {
  {
    base::MutexLock lock(&mutex_);
    closing_ = true;
    changed_.SignalAll();
  }
  thread_.join();
}

Ticket HostStream::Launch(Work work) {
  base::MutexLock lock(&mutex_);
  CHECK(!closing_);
  queue_.push_back(std::move(work));
  changed_.SignalAll();
  return ++submitted_;
}

Ticket HostStream::submitted() const {
  base::MutexLock lock(&mutex_);
  return submitted_;
}

Ticket HostStream::completed() const {
  base::MutexLock lock(&mutex_);
  return completed_;
}

void HostStream::Wait(Ticket ticket) {
  CHECK(std::this_thread::get_id() != thread_.get_id()) << "a stream cannot wait for itself";
  base::MutexLock lock(&mutex_);
  CHECK_LE(ticket, submitted_);
  while (reported_ < ticket) changed_.Wait(&mutex_);
}

void HostStream::Run() {
  while (true) {
    Work work;
    {
      base::MutexLock lock(&mutex_);
      while (queue_.empty() && !closing_) changed_.Wait(&mutex_);
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
    work = nullptr;  // What the work holds is gone before anyone hears that it is done.
    Ticket ticket = 0;
    {
      base::MutexLock lock(&mutex_);
      ticket = ++completed_;
    }
    if (on_completed_) on_completed_(ticket);
    base::MutexLock lock(&mutex_);
    reported_ = ticket;
    changed_.SignalAll();
  }
}

}  // namespace ebb::device
