// RecordingSink: remembers what an engine told it, and CHECKs the contract of RequestSink.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/mutex.h"
#include "engine/request.h"

namespace ebb::engine {

// Thread-safe.
class RecordingSink final : public RequestSink {
 public:
  // Answers kStop to the token of this index; negative: never. Of each answer, or of this one.
  explicit RecordingSink(int32_t stop_at = -1, int32_t stopped_answer = -1)
      : stop_at_(stop_at), stopped_answer_(stopped_answer) {}

  void OnPromptLogprobs(std::vector<PromptLogprob> logprobs) override {
    base::MutexLock lock(&mutex_);
    CHECK_EQ(finish_count_, 0);
    CHECK(answers_.empty()) << "prompt log-probabilities come first";
    prompt_logprobs_.push_back(std::move(logprobs));
  }
  SinkAnswer OnToken(const Token& token) override {
    base::MutexLock lock(&mutex_);
    CHECK_EQ(finish_count_, 0);
    OneAnswer& answer = answers_[token.answer];
    CHECK(!answer.end.has_value()) << "a token after its answer's end";
    CHECK(!answer.stopped) << "a token after kStop";
    CHECK_EQ(token.index, static_cast<int32_t>(answer.tokens.size()));
    answer.tokens.push_back(token.id);
    answer.logprobs.push_back(token.logprob);
    changed_.SignalAll();
    answer.stopped =
        token.index == stop_at_ && (stopped_answer_ < 0 || stopped_answer_ == token.answer);
    return answer.stopped ? SinkAnswer::kStop : SinkAnswer::kContinue;
  }
  void OnAnswerFinish(int32_t answer, const Finish& finish) override {
    base::MutexLock lock(&mutex_);
    CHECK_EQ(finish_count_, 0);
    OneAnswer& one = answers_[answer];
    CHECK(!one.end.has_value()) << "an answer ended twice";
    CHECK_EQ(finish.completion_tokens, static_cast<int32_t>(one.tokens.size()));
    one.end = finish;
    ++ended_count_;
  }
  void OnFinish(const Finish& finish) override {
    base::MutexLock lock(&mutex_);
    ++finish_count_;
    CHECK_EQ(finish_count_, 1);
    CHECK_EQ(ended_count_, static_cast<int>(answers_.size()));
    finish_ = finish;
    changed_.SignalAll();
  }

  Finish Wait() {
    base::MutexLock lock(&mutex_);
    while (finish_count_ == 0) changed_.Wait(&mutex_);
    return finish_;
  }
  // Of the first answer.
  void WaitForTokens(size_t count) {
    base::MutexLock lock(&mutex_);
    while (finish_count_ == 0 && (answers_.count(0) == 0 || answers_[0].tokens.size() < count)) {
      changed_.Wait(&mutex_);
    }
  }
  bool finished() const {
    base::MutexLock lock(&mutex_);
    return finish_count_ > 0;
  }
  Finish finish() const {
    base::MutexLock lock(&mutex_);
    return finish_;
  }
  std::vector<int32_t> tokens(int32_t answer = 0) const { return Of(answer).tokens; }
  std::vector<float> logprobs(int32_t answer = 0) const { return Of(answer).logprobs; }
  // REQUIRES: it has ended.
  Finish answer_finish(int32_t answer) const { return Of(answer).end.value(); }
  bool answer_finished(int32_t answer) const { return Of(answer).end.has_value(); }
  // One entry for each call of OnPromptLogprobs.
  std::vector<std::vector<PromptLogprob>> prompt_logprobs() const {
    base::MutexLock lock(&mutex_);
    return prompt_logprobs_;
  }

 private:
  struct OneAnswer {
    std::vector<int32_t> tokens;
    std::vector<float> logprobs;
    std::optional<Finish> end;
    bool stopped = false;
  };

  OneAnswer Of(int32_t answer) const {
    base::MutexLock lock(&mutex_);
    const auto found = answers_.find(answer);
    return found == answers_.end() ? OneAnswer{} : found->second;
  }

  const int32_t stop_at_;
  const int32_t stopped_answer_;
  mutable base::Mutex mutex_;
  base::CondVar changed_;
  std::vector<std::vector<PromptLogprob>> prompt_logprobs_ ABSL_GUARDED_BY(mutex_);
  std::map<int32_t, OneAnswer> answers_ ABSL_GUARDED_BY(mutex_);
  Finish finish_ ABSL_GUARDED_BY(mutex_);
  int ended_count_ ABSL_GUARDED_BY(mutex_) = 0;
  int finish_count_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace ebb::engine
