// FakeEngine: answers each request with a script, for tests of what stands above the engine.
//
//   FakeEngine engine;
//   engine.SetScript([](const Request&) { FakeEngine::Script s; s.tokens = {5, 6, 7}; return s; });
//   server.Start(&engine);
//
// Requests are played one after the other, in order of submission, by one thread of the fake's
// own, so that sink calls come from another thread as they do in life. With `hold_after` a request
// waits, after so many tokens, until it is cancelled, drained or released.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "device/device_lost.h"
#include "engine/engine.h"
#include "engine/live_request.h"

namespace ebb::engine {

// Thread-safe.
class FakeEngine final : public Engine {
 public:
  struct Script {
    std::vector<int32_t> tokens;  // Emitted in order, at most max_tokens of them.
    // How it ends when it runs to its end. kLength is given by itself when max_tokens cuts it.
    FinishReason reason = FinishReason::kStop;
    absl::Status status = absl::OkStatus();
    int32_t stop_token_id = -1;
    // Waits after this many tokens for Cancel, ReleaseHeld, Drain or the request's deadline
    // (taken as passed when FakeEngine::ExpireDeadlines is called). Negative: never.
    int32_t hold_after = -1;
    // Logprob of every token and its alternatives, when the request asked for logprobs.
    float logprob = -0.5f;
    // What answers 1, 2 ... get instead of `tokens` and `logprob`, as far as there are any. All go
    // on side by side, and end alike.
    struct OtherAnswer {
      std::vector<int32_t> tokens;
      float logprob = -0.5f;
    };
    std::vector<OtherAnswer> others;
    std::vector<PromptLogprob> prompt_logprobs;
  };
  using ScriptFor = std::function<Script(const Request&)>;

  FakeEngine() : player_([this] { Play(); }) {}
  ~FakeEngine() override {
    {
      base::MutexLock lock(&mutex_);
      closing_ = true;
      changed_.SignalAll();
    }
    player_.join();
  }
  FakeEngine(const FakeEngine&) = delete;
  FakeEngine& operator=(const FakeEngine&) = delete;

  // Without a script a request gets its own prompt back.
  void SetScript(ScriptFor script) {
    base::MutexLock lock(&mutex_);
    script_ = std::move(script);
  }
  // Every Submit answers this until it is OK again.
  void SetSubmitStatus(absl::Status status) {
    base::MutexLock lock(&mutex_);
    submit_status_ = std::move(status);
  }
  // The one held request, and those held later, go on.
  void ReleaseHeld() {
    base::MutexLock lock(&mutex_);
    holding_ = false;
    changed_.SignalAll();
  }
  // Requests with a finite deadline end with kDeadline from now on.
  void ExpireDeadlines() {
    base::MutexLock lock(&mutex_);
    deadlines_passed_ = true;
    changed_.SignalAll();
  }
  // Every request not yet ended, and every later one, ends with UNAVAILABLE and this text.
  void LoseDevice(const std::string& text) {
    std::function<void()> on_lost;
    {
      base::MutexLock lock(&mutex_);
      health_ = device::DeviceLostError("the device failed: " + text + "; the server is ending");
      on_lost = on_lost_;
      changed_.SignalAll();
    }
    if (on_lost) on_lost();
  }
  void SetMemoryView(const MemoryView& view) {
    base::MutexLock lock(&mutex_);
    memory_ = view;
  }
  void SetWindows(std::vector<WindowView> windows) {
    base::MutexLock lock(&mutex_);
    windows_ = std::move(windows);
  }
  // What Load adds to what the fake counts itself.
  void SetLastStepAge(absl::Duration age) {
    base::MutexLock lock(&mutex_);
    last_step_age_ = age;
  }
  // Until LetViewsGo, Load, Memory and Health wait, as if the engine's mutex were never released.
  void HoldViews() {
    base::MutexLock lock(&mutex_);
    views_held_ = true;
  }
  void LetViewsGo() {
    base::MutexLock lock(&mutex_);
    views_held_ = false;
    changed_.SignalAll();
  }
  bool IsAskedInVain() const {
    base::MutexLock lock(&mutex_);
    return views_waiting_ > 0;
  }
  void SetLanes(std::vector<LaneView> lanes) {
    base::MutexLock lock(&mutex_);
    lanes_ = std::move(lanes);
  }
  void SetLengths(const LengthScores& scores, std::string learned) {
    base::MutexLock lock(&mutex_);
    length_scores_ = scores;
    learned_lengths_ = std::move(learned);
  }
  void SetLimitAnswer(absl::StatusOr<LimitAnswer> answer) {
    base::MutexLock lock(&mutex_);
    limit_answer_ = std::move(answer);
  }
  // Every request submitted so far, in order, those refused too.
  std::vector<Request> requests() const {
    base::MutexLock lock(&mutex_);
    return requests_;
  }
  int64_t cancel_count() const {
    base::MutexLock lock(&mutex_);
    return cancel_count_;
  }

  absl::StatusOr<RequestId> Submit(Request request, std::shared_ptr<RequestSink> sink) override {
    base::MutexLock lock(&mutex_);
    requests_.push_back(request);
    if (!health_.ok()) return health_;
    if (draining_) return absl::UnavailableError("the engine is draining");
    if (!submit_status_.ok()) return submit_status_;
    const RequestId id = next_id_++;
    Playing playing;
    if (script_) {
      playing.script = script_(request);
    } else {
      playing.script.tokens = request.prompt;
    }
    playing.request = std::move(request);
    playing.sink = std::move(sink);
    waiting_.push_back(id);
    live_.emplace(id, std::move(playing));
    changed_.SignalAll();
    return id;
  }

  void Cancel(RequestId id) override {
    base::MutexLock lock(&mutex_);
    ++cancel_count_;
    const auto it = live_.find(id);
    if (it == live_.end()) return;
    it->second.cancelled = true;
    changed_.SignalAll();
  }

  LimitChange last_limit_change() const {
    base::MutexLock lock(&mutex_);
    return last_limit_change_;
  }
  // Without SetLimitAnswer: applied, whatever the bytes.
  absl::StatusOr<LimitAnswer> SetMemoryLimit(const LimitChange& change) override {
    base::MutexLock lock(&mutex_);
    last_limit_change_ = change;
    if (limit_answer_.ok() && limit_answer_->limit_bytes == 0) {
      memory_.limit_bytes = change.bytes;
      return LimitAnswer{true, change.bytes, memory_.held_bytes, 0};
    }
    return limit_answer_;
  }

  MemoryView Memory() const override {
    base::MutexLock lock(&mutex_);
    WaitForViews();
    return memory_;
  }

  LoadView Load() const override {
    base::MutexLock lock(&mutex_);
    WaitForViews();
    LoadView view;
    view.waiting_requests = static_cast<int64_t>(waiting_.size());
    view.running_requests = static_cast<int64_t>(live_.size() - waiting_.size());
    view.finished_total = finished_count_;
    view.prefilled_tokens_total = prefilled_tokens_;
    view.completion_tokens_total = completion_tokens_;
    view.last_step_age = last_step_age_;
    view.lanes = lanes_;
    view.lengths = length_scores_;
    return view;
  }

  std::vector<WindowView> RecentWindows() const override {
    base::MutexLock lock(&mutex_);
    return windows_;
  }

  std::string SaveLengths() const override {
    base::MutexLock lock(&mutex_);
    return learned_lengths_;
  }
  void FlushPrefixCache() override {
    base::MutexLock lock(&mutex_);
    ++flush_count_;
  }
  int64_t flush_count() const {
    base::MutexLock lock(&mutex_);
    return flush_count_;
  }

  absl::Status Health() const override {
    base::MutexLock lock(&mutex_);
    WaitForViews();
    return health_;
  }

  void SetOnLost(std::function<void()> on_lost) override {
    base::MutexLock lock(&mutex_);
    on_lost_ = std::move(on_lost);
  }

  // Held requests end at once when `grace` is zero; else they are waited for.
  void Drain(absl::Duration grace) override {
    base::MutexLock lock(&mutex_);
    draining_ = true;
    if (grace <= absl::ZeroDuration()) hurry_ = true;
    changed_.SignalAll();
    while (!live_.empty()) changed_.Wait(&mutex_);
  }

 private:
  struct Playing {
    Request request;
    Script script;
    std::shared_ptr<RequestSink> sink;
    bool cancelled = false;
  };

  void WaitForViews() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    ++views_waiting_;
    while (views_held_) changed_.Wait(&mutex_);
    --views_waiting_;
  }

  // Whether the request must end early, and how.
  bool EndsEarly(const Playing& playing, Finish* finish) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!health_.ok()) {
      finish->reason = FinishReason::kError;
      finish->status = health_;
      return true;
    }
    if (playing.cancelled) {
      finish->reason = FinishReason::kCancelled;
      finish->status = absl::CancelledError("the client cancelled");
      return true;
    }
    if (deadlines_passed_ && playing.request.deadline != absl::InfiniteFuture()) {
      finish->reason = FinishReason::kDeadline;
      finish->status = absl::DeadlineExceededError("the deadline passed");
      return true;
    }
    if (hurry_ || closing_) {
      finish->reason = FinishReason::kError;
      finish->status = absl::UnavailableError("the engine is draining");
      return true;
    }
    return false;
  }

  void Play() {
    for (;;) {
      RequestId id = 0;
      Playing* playing = nullptr;
      {
        base::MutexLock lock(&mutex_);
        while (waiting_.empty() && !closing_) changed_.Wait(&mutex_);
        if (waiting_.empty()) return;
        id = waiting_.front();
        waiting_.pop_front();
        playing = &live_.at(id);  // Stable: only this thread erases.
      }
      const Finish finish = PlayOne(playing);
      const std::shared_ptr<RequestSink> sink = playing->sink;
      {
        base::MutexLock lock(&mutex_);
        ++finished_count_;
        prefilled_tokens_ += finish.prompt_tokens;
        completion_tokens_ += finish.completion_tokens;
      }
      sink->OnFinish(finish);
      base::MutexLock lock(&mutex_);
      live_.erase(id);
      changed_.SignalAll();
    }
  }

  // True when the request may go on past a hold; false with *finish set when it ended there.
  bool MayGoOn(const Playing& playing, bool hold, Finish* finish) {
    base::MutexLock lock(&mutex_);
    while (hold && holding_ && !EndsEarly(playing, finish)) changed_.Wait(&mutex_);
    return !EndsEarly(playing, finish);
  }

  // What one answer has come to.
  struct Progress {
    std::vector<int32_t> tokens;  // To be told.
    float logprob = 0;
    Finish finish;
    bool ended = false;
  };

  static std::vector<Progress> ProgressOf(const Playing& playing) {
    const Script& script = playing.script;
    std::vector<Progress> answers(static_cast<size_t>(playing.request.n));
    for (size_t i = 0; i < answers.size(); ++i) {
      const bool other = i > 0 && i <= script.others.size();
      answers[i].tokens = other ? script.others[i - 1].tokens : script.tokens;
      answers[i].logprob = other ? script.others[i - 1].logprob : script.logprob;
      Finish& finish = answers[i].finish;
      finish.reason = script.reason;
      finish.status = script.status;
      finish.stop_token_id = script.stop_token_id;
      finish.prompt_tokens = static_cast<int32_t>(playing.request.prompt.size());
      finish.first_token_time = absl::InfiniteDuration();
    }
    return answers;
  }

  Finish PlayOne(Playing* playing) {
    const Request& request = playing->request;
    if (request.sampling.prompt_logprobs >= 0) {
      playing->sink->OnPromptLogprobs(playing->script.prompt_logprobs);
    }
    std::vector<Progress> answers = ProgressOf(*playing);
    size_t longest = 0;
    for (const Progress& answer : answers) longest = std::max(longest, answer.tokens.size());
    Finish total;
    int told = 0;
    const auto end = [&](size_t i) {
      playing->sink->OnAnswerFinish(static_cast<int32_t>(i), answers[i].finish);
      answers[i].ended = true;
      AddAnswer(static_cast<int32_t>(i), answers[i].finish, told++ == 0, &total);
    };
    for (size_t at = 0; at <= longest; ++at) {
      const bool hold = playing->script.hold_after == static_cast<int32_t>(at);
      Finish early;
      const bool goes_on = MayGoOn(*playing, hold, &early);
      for (size_t i = 0; i < answers.size(); ++i) {
        if (answers[i].ended) continue;
        if (!goes_on) {
          answers[i].finish.reason = early.reason;
          answers[i].finish.status = early.status;
        }
        const bool ends = !goes_on || at == answers[i].tokens.size() ||
                          !TellToken(playing, static_cast<int32_t>(i), at, &answers[i]);
        if (ends) end(i);
      }
      if (told == request.n) break;
    }
    return total;
  }

  // False when the answer ends with the token.
  static bool TellToken(Playing* playing, int32_t index, size_t at, Progress* answer) {
    const Request& request = playing->request;
    Token token;
    token.answer = index;
    token.id = answer->tokens[at];
    token.index = static_cast<int32_t>(at);
    if (request.sampling.logprobs >= 0) {
      token.logprob = answer->logprob;
      for (int32_t n = 0; n < request.sampling.logprobs; ++n) {
        token.top.push_back({token.id + n, answer->logprob - static_cast<float>(n)});
      }
    }
    Finish& finish = answer->finish;
    finish.first_token_time = absl::ZeroDuration();
    ++finish.completion_tokens;
    const bool stopped = playing->sink->OnToken(token) == SinkAnswer::kStop;
    if (!stopped && finish.completion_tokens < request.stopping.max_tokens) return true;
    finish.reason = stopped ? FinishReason::kStop : FinishReason::kLength;
    finish.status = absl::OkStatus();
    return false;
  }

  mutable base::Mutex mutex_;
  mutable base::CondVar changed_;
  ScriptFor script_ ABSL_GUARDED_BY(mutex_);
  absl::Status submit_status_ ABSL_GUARDED_BY(mutex_) = absl::OkStatus();
  LimitChange last_limit_change_ ABSL_GUARDED_BY(mutex_);
  absl::StatusOr<LimitAnswer> limit_answer_ ABSL_GUARDED_BY(mutex_) = LimitAnswer{};
  MemoryView memory_ ABSL_GUARDED_BY(mutex_);
  std::vector<WindowView> windows_ ABSL_GUARDED_BY(mutex_);
  bool views_held_ ABSL_GUARDED_BY(mutex_) = false;
  mutable int views_waiting_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<LaneView> lanes_ ABSL_GUARDED_BY(mutex_);
  absl::Duration last_step_age_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();
  LengthScores length_scores_ ABSL_GUARDED_BY(mutex_);
  std::string learned_lengths_ ABSL_GUARDED_BY(mutex_);
  int64_t flush_count_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status health_ ABSL_GUARDED_BY(mutex_);
  std::function<void()> on_lost_ ABSL_GUARDED_BY(mutex_);
  std::vector<Request> requests_ ABSL_GUARDED_BY(mutex_);
  std::deque<RequestId> waiting_ ABSL_GUARDED_BY(mutex_);
  std::map<RequestId, Playing> live_ ABSL_GUARDED_BY(mutex_);
  RequestId next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  int64_t cancel_count_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t finished_count_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t prefilled_tokens_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t completion_tokens_ ABSL_GUARDED_BY(mutex_) = 0;
  bool holding_ ABSL_GUARDED_BY(mutex_) = true;
  bool deadlines_passed_ ABSL_GUARDED_BY(mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool hurry_ ABSL_GUARDED_BY(mutex_) = false;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread player_;  // Must be the last member: it uses the others.
};

}  // namespace ebb::engine
