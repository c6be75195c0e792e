// WindowHistory: the last windows of each queue, for those who watch; older ones are in the log.
//
// Not thread-safe: guarded by EngineCore::mutex.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "absl/time/time.h"
#include "engine/engine.h"
#include "memory/window_manager.h"

namespace ebb::engine {

class WindowHistory {
 public:
  static constexpr size_t kWindowsMax = 32;  // Of each queue.

  void Add(const memory::WindowPlan& plan, absl::Time opened) {
    Queue& queue = queues_[plan.queue];
    queue.kept.push_back({++queue.count, opened, plan});
    if (queue.kept.size() > kWindowsMax) queue.kept.pop_front();
  }

  // Queue by queue, oldest first. REQUIRES: no window was opened after `now`.
  std::vector<WindowView> View(absl::Time now) const {
    std::vector<WindowView> views;
    for (const auto& [name, queue] : queues_) {
      for (const Opened& window : queue.kept) {
        views.push_back({window.number, now - window.opened, window.plan});
      }
    }
    return views;
  }

 private:
  struct Opened {
    int64_t number = 0;
    absl::Time opened;
    memory::WindowPlan plan;
  };
  struct Queue {
    int64_t count = 0;
    std::deque<Opened> kept;
  };
  std::map<memory::WindowQueue, Queue> queues_;
};

}  // namespace ebb::engine
