#include "server/http/http_call.h"

#include <utility>

#include "base/check.h"

namespace ebb::server {

bool HttpCall::HasEnded() const { return !failure_.ok() || (accepted_ && answers_->ended()); }

HttpCall::State HttpCall::state() {
  base::MutexLock lock(&mutex_);
  if (HasEnded()) return State::kEnded;
  return accepted_ ? State::kRunning : State::kStarting;
}

CallNews HttpCall::Take() {
  base::MutexLock lock(&mutex_);
  CallNews news;
  if (!failure_.ok()) {
    if (!std::exchange(told_end_, true)) news.failure = failure_;
    return news;
  }
  if (!accepted_) return news;
  if (!std::exchange(told_prompt_info_, true)) {
    news.has_prompt_info = true;
    news.prompt_info = prompt_info_;
  }
  news.has_prompt_logprobs = answers_->TakePromptLogprobs(&news.prompt_logprobs);
  news.has_delta = answers_->TakeDelta(&news.delta);
  if (!answers_->ended() || std::exchange(told_end_, true)) return news;
  news.failure = TakeFinish().status;
  if (news.failure.ok()) {
    news.has_finished = true;
    news.finished = answers_->Finished();
  }
  return news;
}

void HttpCall::Abandon() {
  bool release = false;
  {
    base::MutexLock lock(&mutex_);
    CHECK(!abandoned_);
    abandoned_ = true;
    release = released_ = HasEnded();
  }
  if (release) {
    Release();
  } else {
    CancelRequest();
  }
}

void HttpCall::Advance() {
  bool release = false;
  {
    base::MutexLock lock(&mutex_);
    release = abandoned_ && !released_ && HasEnded();
    if (release) released_ = true;
    if (abandoned_ && !release) return;
  }
  if (release) {
    Release();
  } else {
    wake_();
  }
}

void HttpCall::Fail(const absl::Status& status) {
  {
    base::MutexLock lock(&mutex_);
    failure_ = status;
  }
  Advance();
}

}  // namespace ebb::server
