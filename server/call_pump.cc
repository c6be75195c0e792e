#include "server/call_pump.h"

#include <utility>

namespace ebb::server {

CallPump::~CallPump() {
  {
    base::MutexLock lock(&mutex_);
    closing_ = true;
    not_empty_.SignalAll();
  }
  thread_.join();
}

void CallPump::Post(std::shared_ptr<PumpTask> task) {
  base::MutexLock lock(&mutex_);
  tasks_.push_back(std::move(task));
  if (tasks_.size() == 1) not_empty_.Signal();
}

void CallPump::Run() {
  std::deque<std::shared_ptr<PumpTask>> batch;
  for (;;) {
    {
      base::MutexLock lock(&mutex_);
      while (tasks_.empty() && !closing_) not_empty_.Wait(&mutex_);
      if (tasks_.empty()) return;
      batch.swap(tasks_);
    }
    for (const std::shared_ptr<PumpTask>& task : batch) task->RunFromPump();
    batch.clear();
  }
}

}  // namespace ebb::server
