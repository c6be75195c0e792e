#include "cli/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <utility>

#include "base/check.h"
#include "cli/exit_code.h"

namespace ebb::cli {
namespace {

// SIGUSR1 ends the thread itself.
sigset_t WatchedSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGUSR1);
  return signals;
}

}  // namespace

bool Interrupt::Trigger() {
  base::MutexLock lock(&mutex_);
  if (triggered_) return false;
  triggered_ = true;
  changed_.SignalAll();
  for (const auto& [id, callback] : callbacks_) callback();
  return !callbacks_.empty();
}

bool Interrupt::triggered() const {
  base::MutexLock lock(&mutex_);
  return triggered_;
}

bool Interrupt::WaitFor(absl::Duration timeout) const {
  using Clock = std::chrono::steady_clock;
  base::MutexLock lock(&mutex_);
  const Clock::time_point end = Clock::now() + absl::ToChronoNanoseconds(timeout);
  while (!triggered_ && Clock::now() < end) changed_.WaitFor(&mutex_, end - Clock::now());
  return triggered_;
}

Interrupt::Scope::Scope(Interrupt* interrupt, std::function<void()> callback)
    : interrupt_(interrupt) {
  base::MutexLock lock(&interrupt_->mutex_);
  if (interrupt_->triggered_) callback();
  id_ = interrupt_->next_id_++;
  interrupt_->callbacks_[id_] = std::move(callback);
}

Interrupt::Scope::~Scope() {
  base::MutexLock lock(&interrupt_->mutex_);
  interrupt_->callbacks_.erase(id_);
}

SignalThread::SignalThread(Interrupt* interrupt) {
  const sigset_t signals = WatchedSignals();
  CHECK_EQ(pthread_sigmask(SIG_BLOCK, &signals, nullptr), 0);
  thread_ = std::thread([interrupt, signals] {
    for (int signal = 0; sigwait(&signals, &signal) == 0 && signal != SIGUSR1;) {
      if (!interrupt->Trigger()) _exit(static_cast<int>(ExitCode::kInterrupted));
    }
  });
}

SignalThread::~SignalThread() {
  pthread_kill(thread_.native_handle(), SIGUSR1);
  thread_.join();
}

}  // namespace ebb::cli
