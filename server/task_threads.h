// TaskThreads: a few threads for work that must not hold up those who ask for it, with a bounded
// queue before them.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/bounded_queue.h"

namespace ebb::server {

// Thread-safe.
class TaskThreads {
 public:
  // REQUIRES: both are above 0.
  TaskThreads(size_t threads, size_t waiting_max) : tasks_(waiting_max) {
    for (size_t i = 0; i < threads; ++i) {
      threads_.emplace_back([this] {
        while (std::optional<std::function<void()>> task = tasks_.Pop()) (*task)();
      });
    }
  }
  // Runs what waits.
  ~TaskThreads() {
    tasks_.Close();
    for (std::thread& thread : threads_) thread.join();
  }
  TaskThreads(const TaskThreads&) = delete;
  TaskThreads& operator=(const TaskThreads&) = delete;

  // False, and `task` is not run, when too many wait.
  [[nodiscard]] bool TryPost(std::function<void()> task) { return tasks_.TryPush(std::move(task)); }

 private:
  base::BoundedQueue<std::function<void()>> tasks_;
  std::vector<std::thread> threads_;
};

}  // namespace ebb::server
