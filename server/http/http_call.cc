#include "server/http/http_call.h"

#include <utility>

#include "base/check.h"
#include "base/status_macros.h"

namespace ebb::server {

bool HttpCall::HasEnded() const { return !failure_.ok() || (accepted_ && answers_->ended()); }

HttpCall::State HttpCall::state() {
  base::MutexLock lock(&mutex_);
  if (HasEnded()) return State::kEnded;
  return accepted_ ? State::kRunning : State::kStarting;
}

std::vector<CallNews> HttpCall::Take() {
  base::MutexLock lock(&mutex_);
  std::vector<CallNews> all(answer_count_);
  if (!failure_.ok()) {
    if (!std::exchange(told_end_, true)) all[0].failure = failure_;
    return all;
  }
  if (!accepted_) return all;
  const bool tells_prompt = !std::exchange(told_prompt_info_, true);
  v1::PromptLogprobs prompt_logprobs;
  const bool has_logprobs = answers_->TakePromptLogprobs(&prompt_logprobs);
  for (CallNews& news : all) {
    news.has_prompt_info = tells_prompt;
    if (tells_prompt) news.prompt_info = prompt_info_;
    news.has_prompt_logprobs = has_logprobs;
    if (has_logprobs) news.prompt_logprobs = prompt_logprobs;
  }
  for (v1::Delta delta; answers_->TakeDelta(&delta); delta.Clear()) {
    CallNews& news = all.at(static_cast<size_t>(delta.index()));
    news.has_delta = true;
    news.delta.Swap(&delta);
  }
  for (v1::Finished finished; answers_->TakeAnswerEnd(&finished); finished.Clear()) {
    CallNews& news = all.at(static_cast<size_t>(finished.index()));
    news.has_finished = true;
    news.finished.Swap(&finished);
  }
  if (!answers_->ended() || std::exchange(told_end_, true)) return all;
  all[0].failure = TakeFinish().status;
  if (all[0].failure.ok() && answer_count_ == 1) {
    all[0].has_finished = true;
    all[0].finished = answers_->Finished();
  }
  return all;
}

absl::Status HttpCall::TakeWhole(v1::GenerateResponse* response) {
  base::MutexLock lock(&mutex_);
  RETURN_IF_ERROR(failure_);
  RETURN_IF_ERROR(TakeFinish().status);
  v1::PromptLogprobs prompt_logprobs;
  answers_->TakePromptLogprobs(&prompt_logprobs);
  response->mutable_prompt_logprobs()->Swap(prompt_logprobs.mutable_logprobs());
  response->mutable_prompt_token_ids()->Swap(prompt_info_.mutable_prompt_token_ids());
  answers_->TakeAll(response);
  return absl::OkStatus();
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
