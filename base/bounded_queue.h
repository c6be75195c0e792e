// BoundedQueue: a first-in first-out queue between threads with a named limit.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/mutex.h"

namespace ebb::base {

// Thread-safe.
template <typename T>
class BoundedQueue {
 public:
  // REQUIRES: item_count_max > 0.
  explicit BoundedQueue(size_t item_count_max) : item_count_max_(item_count_max) {
    CHECK_GT(item_count_max, 0u);
  }

  // False, and `item` untouched, when the queue is full or closed.
  [[nodiscard]] bool TryPush(T&& item) {
    MutexLock lock(&mutex_);
    if (closed_ || items_.size() >= item_count_max_) return false;
    items_.push_back(std::move(item));
    not_empty_.Signal();
    return true;
  }

  // Waits for an item. Empty when the queue is closed and drained.
  std::optional<T> Pop() {
    MutexLock lock(&mutex_);
    while (items_.empty() && !closed_) not_empty_.Wait(&mutex_);
    if (items_.empty()) return std::nullopt;
    T item = std::move(items_.front());
    items_.pop_front();
    return item;
  }

  // No push succeeds any more; items inside are still popped.
  void Close() {
    MutexLock lock(&mutex_);
    closed_ = true;
    not_empty_.SignalAll();
  }

  size_t size() const {
    MutexLock lock(&mutex_);
    return items_.size();
  }

 private:
  const size_t item_count_max_;
  mutable Mutex mutex_;
  CondVar not_empty_;
  std::deque<T> items_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace ebb::base
