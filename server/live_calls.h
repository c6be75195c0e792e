// LiveCalls: the Generate calls that are not over, by tenant and request id. It bounds their
// number, keeps a tenant's ids unique, finds the one that is to be cancelled, turns newcomers away
// while the server drains, and lets the drain wait for the last answer to be sent. Nobody's id
// tells or touches anything of another tenant's.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <unordered_map>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"

namespace ebb::server {

// Thread-safe. Outlives its tickets.
class LiveCalls {
 public:
  // Holds a call's place until it is destroyed.
  class Ticket {
   public:
    Ticket() = default;
    Ticket(LiveCalls* calls, std::string key) : calls_(calls), key_(std::move(key)) {}
    Ticket(Ticket&& other) noexcept { *this = std::move(other); }
    Ticket& operator=(Ticket&& other) noexcept {
      Release();
      calls_ = std::exchange(other.calls_, nullptr);
      key_ = std::move(other.key_);
      return *this;
    }
    ~Ticket() { Release(); }

    // The id is free for another call; the place is not. For a client that has its status may ask
    // again at once, while gRPC is still closing the call.
    void FreeId();

   private:
    void Release();
    LiveCalls* calls_ = nullptr;
    std::string key_;
  };

  explicit LiveCalls(size_t calls_max) : calls_max_(calls_max) {}
  ~LiveCalls();

  // UNAVAILABLE once closed, RESOURCE_EXHAUSTED when there are too many, ALREADY_EXISTS when the id
  // is in use. `cancel` may be called by any thread, also after the ticket is gone.
  absl::StatusOr<Ticket> Enter(const std::string& tenant, const std::string& id,
                               std::function<void()> cancel);

  // Cancels the tenant's call with this id. False when there is none.
  bool Cancel(const std::string& tenant, const std::string& id);

  // No call enters any more.
  void Close();
  bool closed() const;

  // Whether all calls were over within `timeout`.
  bool WaitUntilEmpty(absl::Duration timeout);

 private:
  void FreeKey(const std::string& key);
  void Leave();

  const size_t calls_max_;
  mutable base::Mutex mutex_;
  base::CondVar left_;
  // What cancels a call, by its tenant and id.
  std::unordered_map<std::string, std::function<void()>> keys_ ABSL_GUARDED_BY(mutex_);
  size_t call_count_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace ebb::server
