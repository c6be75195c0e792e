#include "device/launch_gate.h"

#include "base/check.h"

namespace ebb::device {

void LaunchGate::BeginLaunch() {
  base::MutexLock lock(&mutex_);
  while (closed_) changed_.Wait(&mutex_);
  ++open_launches_;
}

void LaunchGate::EndLaunch() {
  base::MutexLock lock(&mutex_);
  CHECK_GT(open_launches_, 0);
  if (--open_launches_ == 0) changed_.SignalAll();
}

void LaunchGate::Close() {
  base::MutexLock lock(&mutex_);
  CHECK(!closed_);
  closed_ = true;
  while (open_launches_ > 0) changed_.Wait(&mutex_);
}

void LaunchGate::Open() {
  base::MutexLock lock(&mutex_);
  CHECK(closed_);
  closed_ = false;
  changed_.SignalAll();
}

bool LaunchGate::closed() const {
  base::MutexLock lock(&mutex_);
  return closed_;
}

}  // namespace ebb::device
