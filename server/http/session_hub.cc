#include "server/http/session_hub.h"

#include <chrono>

namespace ebb::server {

bool SessionHub::Enter(const std::shared_ptr<AnySession>& session) {
  base::MutexLock lock(&mutex_);
  if (stopped_ || sessions_.size() >= options.connections_max) return false;
  sessions_.emplace(session.get(), session);
  return true;
}

void SessionHub::Leave(const AnySession* session) {
  base::MutexLock lock(&mutex_);
  sessions_.erase(session);
  left_.SignalAll();
}

void SessionHub::StopAll(bool now) {
  std::vector<std::shared_ptr<AnySession>> sessions;
  {
    base::MutexLock lock(&mutex_);
    if (now) stopped_ = true;
    for (const auto& [key, weak] : sessions_) {
      if (std::shared_ptr<AnySession> session = weak.lock()) sessions.push_back(session);
    }
  }
  for (const std::shared_ptr<AnySession>& session : sessions) session->Stop(now);
}

bool SessionHub::WaitUntilEmpty(absl::Duration timeout) {
  const auto end = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(timeout);
  base::MutexLock lock(&mutex_);
  while (!sessions_.empty()) {
    const auto left = end - std::chrono::steady_clock::now();
    if (left <= left.zero() || !left_.WaitFor(&mutex_, left)) return sessions_.empty();
  }
  return true;
}

size_t SessionHub::size() const {
  base::MutexLock lock(&mutex_);
  return sessions_.size();
}

}  // namespace ebb::server
