#include "server/live_calls.h"

#include <chrono>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace ebb::server {
namespace {

// No tenant's name has a slash.
std::string KeyOf(const std::string& tenant, const std::string& id) {
  return absl::StrCat(tenant, "/", id);
}

}  // namespace

LiveCalls::~LiveCalls() {
  base::MutexLock lock(&mutex_);
  CHECK(keys_.empty() && call_count_ == 0);
}

void LiveCalls::Ticket::Release() {
  FreeId();
  if (calls_ != nullptr) calls_->Leave();
  calls_ = nullptr;
}

void LiveCalls::Ticket::FreeId() {
  if (calls_ != nullptr && !key_.empty()) calls_->FreeKey(key_);
  key_.clear();
}

absl::StatusOr<LiveCalls::Ticket> LiveCalls::Enter(const std::string& tenant, const std::string& id,
                                                   std::function<void()> cancel) {
  base::MutexLock lock(&mutex_);
  if (closed_) return absl::UnavailableError("the server is draining; ask another one");
  if (call_count_ >= calls_max_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("too many calls: ", calls_max_, " are open; try again later"));
  }
  std::string key = KeyOf(tenant, id);
  if (!keys_.emplace(key, std::move(cancel)).second) {
    return absl::AlreadyExistsError("request_id: a request with this id is still running");
  }
  ++call_count_;
  return Ticket(this, std::move(key));
}

bool LiveCalls::Cancel(const std::string& tenant, const std::string& id) {
  std::function<void()> cancel;
  {
    base::MutexLock lock(&mutex_);
    const auto it = keys_.find(KeyOf(tenant, id));
    if (it == keys_.end()) return false;
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

void LiveCalls::FreeKey(const std::string& key) {
  base::MutexLock lock(&mutex_);
  keys_.erase(key);
}

void LiveCalls::Leave() {
  base::MutexLock lock(&mutex_);
  --call_count_;
  left_.SignalAll();
}

}  // namespace ebb::server
