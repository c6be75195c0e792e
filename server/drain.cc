#include "server/drain.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "base/check.h"

namespace ebb::server {
namespace {

sigset_t EndSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

}  // namespace

void DrainSwitch::Request(absl::Duration grace, absl::Duration delay) {
  base::MutexLock lock(&mutex_);
  grace_ = std::min(grace_.value_or(grace), grace);
  delay_ = std::min(delay_, delay);
  changed_.SignalAll();
}

bool DrainSwitch::requested() const {
  base::MutexLock lock(&mutex_);
  return grace_.has_value();
}

absl::Duration DrainSwitch::WaitForRequest() {
  base::MutexLock lock(&mutex_);
  while (!grace_.has_value()) changed_.Wait(&mutex_);
  return delay_;
}

absl::Duration DrainSwitch::WaitOutDelay() {
  const auto begin = std::chrono::steady_clock::now();
  base::MutexLock lock(&mutex_);
  for (;;) {
    const auto left = begin + absl::ToChronoNanoseconds(delay_) - std::chrono::steady_clock::now();
    if (left <= left.zero()) break;
    changed_.WaitFor(&mutex_, left);
  }
  served_ = *grace_;
  return served_;
}

void DrainSwitch::ServeHurries(const std::function<void(absl::Duration)>& hurry) {
  for (;;) {
    absl::Duration grace;
    {
      base::MutexLock lock(&mutex_);
      while (!stopped_ && !(grace_.has_value() && *grace_ < served_)) changed_.Wait(&mutex_);
      if (stopped_) return;
      served_ = *grace_;
      grace = served_;
    }
    hurry(grace);
  }
}

void DrainSwitch::Stop() {
  base::MutexLock lock(&mutex_);
  stopped_ = true;
  changed_.SignalAll();
}

void BlockSignals() {
  const sigset_t signals = EndSignals();
  CHECK_EQ(pthread_sigmask(SIG_BLOCK, &signals, nullptr), 0);
  signal(SIGPIPE, SIG_IGN);
}

SignalThread::SignalThread(DrainSwitch* drain, absl::Duration grace, absl::Duration delay) {
  const sigset_t signals = EndSignals();
  stop_fd_ = eventfd(0, EFD_CLOEXEC);
  signal_fd_ = signalfd(-1, &signals, SFD_CLOEXEC);
  CHECK(stop_fd_ >= 0 && signal_fd_ >= 0) << "errno " << errno;
  thread_ = std::thread([this, drain, grace, delay] { Run(drain, grace, delay); });
}

SignalThread::~SignalThread() {
  const uint64_t one = 1;
  CHECK_EQ(write(stop_fd_, &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
  thread_.join();
  close(stop_fd_);
  close(signal_fd_);
}

void SignalThread::Run(DrainSwitch* drain, absl::Duration grace, absl::Duration delay) {
  for (;;) {
    pollfd fds[2] = {{stop_fd_, POLLIN, 0}, {signal_fd_, POLLIN, 0}};
    if (poll(fds, 2, -1) < 0) continue;  // EINTR.
    if (fds[0].revents != 0) return;
    signalfd_siginfo info;
    if (read(signal_fd_, &info, sizeof(info)) != sizeof(info)) continue;
    if (drain->requested()) {
      drain->Request(absl::ZeroDuration());
    } else {
      drain->Request(grace, delay);
    }
  }
}

}  // namespace ebb::server
