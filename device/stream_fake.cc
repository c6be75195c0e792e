#include "device/stream_fake.h"

#include <utility>

#include "base/check.h"

namespace ebb::device {

FakeStream::FakeStream(OnCompleted on_completed) : on_completed_(std::move(on_completed)) {}

Ticket FakeStream::Launch(Work work) {
  base::MutexLock lock(&mutex_);
  queue_.push_back(std::move(work));
  return ++submitted_;
}

Ticket FakeStream::submitted() const {
  base::MutexLock lock(&mutex_);
  return submitted_;
}

Ticket FakeStream::completed() const {
  base::MutexLock lock(&mutex_);
  return completed_;
}

void FakeStream::Wait(Ticket ticket) {
  CHECK_LE(ticket, submitted());
  while (completed() < ticket) CHECK(RunNext());
}

bool FakeStream::RunNext() {
  Work work;
  {
    base::MutexLock lock(&mutex_);
    if (queue_.empty()) return false;
    work = std::move(queue_.front());
    queue_.pop_front();
  }
  work();
  work = nullptr;
  Ticket ticket = 0;
  {
    base::MutexLock lock(&mutex_);
    ticket = ++completed_;
  }
  if (on_completed_) on_completed_(ticket);
  return true;
}

void FakeStream::RunAll() {
  while (RunNext()) {
  }
}

}  // namespace ebb::device
