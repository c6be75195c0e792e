// RecordingSink: remembers what an engine told it, and CHECKs the contract of RequestSink.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/mutex.h"
#include "engine/request.h"

namespace ebb::engine {

// Thread-safe.
class RecordingSink final : public RequestSink {
 public:
  // Answers kStop to the token of this index; negative: never.
  explicit RecordingSink(int32_t stop_at = -1) : stop_at_(stop_at) {}

  void OnPromptLogprobs(std::vector<PromptLogprob> logprobs) override {
    base::MutexLock lock(&mutex_);
    CHECK_EQ(finish_count_, 0);
    CHECK(tokens_.empty()) << "prompt log-probabilities come first";
    prompt_logprobs_.push_back(std::move(logprobs));
  }
  SinkAnswer OnToken(const Token& token) override {
    base::MutexLock lock(&mutex_);
    CHECK_EQ(finish_count_, 0);
    CHECK(!stopped_) << "a token after kStop";
    CHECK_EQ(token.index, static_cast<int32_t>(tokens_.size()));
    tokens_.push_back(token.id);
    logprobs_.push_back(token.logprob);
    changed_.SignalAll();
    stopped_ = token.index == stop_at_;
    return stopped_ ? SinkAnswer::kStop : SinkAnswer::kContinue;
  }
  void OnFinish(const Finish& finish) override {
    base::MutexLock lock(&mutex_);
    ++finish_count_;
    CHECK_EQ(finish_count_, 1);
    finish_ = finish;
    changed_.SignalAll();
  }

  Finish Wait() {
    base::MutexLock lock(&mutex_);
    while (finish_count_ == 0) changed_.Wait(&mutex_);
    return finish_;
  }
  void WaitForTokens(size_t count) {
    base::MutexLock lock(&mutex_);
    while (tokens_.size() < count && finish_count_ == 0) changed_.Wait(&mutex_);
  }
  bool finished() const {
    base::MutexLock lock(&mutex_);
    return finish_count_ > 0;
  }
  Finish finish() const {
    base::MutexLock lock(&mutex_);
    return finish_;
  }
  std::vector<int32_t> tokens() const {
    base::MutexLock lock(&mutex_);
    return tokens_;
  }
  std::vector<float> logprobs() const {
    base::MutexLock lock(&mutex_);
    return logprobs_;
  }
  // One entry for each call of OnPromptLogprobs.
  std::vector<std::vector<PromptLogprob>> prompt_logprobs() const {
    base::MutexLock lock(&mutex_);
    return prompt_logprobs_;
  }

 private:
  const int32_t stop_at_;
  mutable base::Mutex mutex_;
  base::CondVar changed_;
  std::vector<std::vector<PromptLogprob>> prompt_logprobs_ ABSL_GUARDED_BY(mutex_);
  std::vector<int32_t> tokens_ ABSL_GUARDED_BY(mutex_);
  std::vector<float> logprobs_ ABSL_GUARDED_BY(mutex_);
  Finish finish_ ABSL_GUARDED_BY(mutex_);
  int finish_count_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace ebb::engine
