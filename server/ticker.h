// Ticker: a thread that calls a function again and again, with the same pause between.
#pragma once

#include <functional>
#include <thread>
#include <utility>

#include "absl/time/time.h"
#include "base/mutex.h"

namespace ebb::server {

class Ticker {
 public:
  Ticker(absl::Duration pause, std::function<void()> tick)
      : pause_(pause), tick_(std::move(tick)), thread_([this] { Run(); }) {}
  // Waits for a call under way; none comes after.
  ~Ticker() {
    {
      base::MutexLock lock(&mutex_);
      stopped_ = true;
    }
    changed_.SignalAll();
    thread_.join();
  }
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;

 private:
  void Run() {
    for (;;) {
      {
        base::MutexLock lock(&mutex_);
        if (!stopped_) changed_.WaitFor(&mutex_, absl::ToChronoNanoseconds(pause_));
        if (stopped_) return;
      }
      tick_();
    }
  }

  const absl::Duration pause_;
  const std::function<void()> tick_;
  base::Mutex mutex_;
  base::CondVar changed_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // Must be the last member: it uses the others.
};

}  // namespace ebb::server
