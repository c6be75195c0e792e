// HttpCall: one GenerateCall whose answer is fetched: whoever makes the HTTP answer is woken when
// something came, and takes it when the client can be sent more.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/generate_call.h"
#include "server/http/answer_json.h"

namespace ebb::server {

// Thread-safe.
class HttpCall final : public GenerateCall {
 public:
  // For a request of `answers` answers, taken as they come if it `streams`. `wake` is called from
  // any thread, with nothing held.
  HttpCall(CallResources* resources, size_t answers, bool streams, std::function<void()> wake)
      : GenerateCall(resources, absl::InfiniteFuture()),
        answer_count_(answers),
        streams_(streams),
        wake_(std::move(wake)) {}

  enum class State { kStarting, kRunning, kEnded };
  State state();

  // Of each answer, what came since the last call; an end is told once. When the last has ended the
  // request's id is free. REQUIRES: it streams.
  std::vector<CallNews> Take();
  // How it ended, and if well, all of it. REQUIRES: it has ended. Called once.
  absl::Status TakeWhole(v1::GenerateResponse* response);

  // The answer is sent, or nobody wants it any more: cancels the request if it still runs, and lets
  // go of the call when it has ended. Called once.
  void Abandon();

 private:
  bool streams() const override { return streams_; }
  void Advance() override;
  void Fail(const absl::Status& status) override;
  bool HasEnded() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t answer_count_;
  const bool streams_;
  const std::function<void()> wake_;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);  // Why the engine never had it.
  bool told_prompt_info_ ABSL_GUARDED_BY(mutex_) = false;
  bool told_end_ ABSL_GUARDED_BY(mutex_) = false;
  bool abandoned_ ABSL_GUARDED_BY(mutex_) = false;
  bool released_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace ebb::server
