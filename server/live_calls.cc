#include "server/live_calls.h"

#include <chrono>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace ebb::server {

LiveCalls::~LiveCalls() {
  base::MutexLock lock(&mutex_);
  CHECK(ids_.empty() && call_count_ == 0);
}

void LiveCalls::Ticket::Release() {
  FreeId();
  if (calls_ != nullptr) calls_->Leave();
  calls_ = nullptr;
}

void LiveCalls::Ticket::FreeId() {
  if (calls_ != nullptr && !id_.empty()) calls_->FreeId(id_);
  id_.clear();
}

absl::StatusOr<LiveCalls::Ticket> LiveCalls::Enter(const std::string& id,
                                                   std::function<void()> cancel) {
  base::MutexLock lock(&mutex_);
  if (closed_) return absl::UnavailableError("the server is draining; ask another one");
  if (call_count_ >= calls_max_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("too many calls: ", calls_max_, " are open; try again later"));
  }
  if (!ids_.emplace(id, std::move(cancel)).second) {
    return absl::AlreadyExistsError("request_id: a request with this id is still running");
  }
  ++call_count_;
  return Ticket(this, id);
}

bool LiveCalls::Cancel(const std::string& id) {
  std::function<void()> cancel;
  {
    base::MutexLock lock(&mutex_);
    const auto it = ids_.find(id);
    if (it == ids_.end()) return false;
    cancel = it->second;
  }
  cancel();
  return true;
}

void LiveCalls::Close() {
  base::MutexLock lock(&mutex_);
  closed_ = true;
}

bool LiveCalls::closed() const {
  base::MutexLock lock(&mutex_);
  return closed_;
}

bool LiveCalls::WaitUntilEmpty(absl::Duration timeout) {
  const auto end = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(timeout);
  base::MutexLock lock(&mutex_);
  while (call_count_ > 0) {
    const auto left = end - std::chrono::steady_clock::now();
    if (left <= left.zero() || !left_.WaitFor(&mutex_, left)) return call_count_ == 0;
  }
  return true;
}

void LiveCalls::FreeId(const std::string& id) {
  base::MutexLock lock(&mutex_);
  ids_.erase(id);
}

void LiveCalls::Leave() {
  base::MutexLock lock(&mutex_);
  --call_count_;
  left_.SignalAll();
}

}  // namespace ebb::server
