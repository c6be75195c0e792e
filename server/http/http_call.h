// HttpCall: one GenerateCall whose answer is fetched: whoever makes the HTTP answer is woken when
// something came, and takes it when the client can be sent more.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/generate_call.h"
#include "server/http/answer_json.h"

namespace ebb::server {

// Thread-safe.
class HttpCall final : public GenerateCall {
 public:
  // `wake` is called from any thread, with nothing held.
  HttpCall(CallResources* resources, std::function<void()> wake)
      : GenerateCall(resources, absl::InfiniteFuture()), wake_(std::move(wake)) {}

  enum class State { kStarting, kRunning, kEnded };
  State state();

  // What came since the last call; the end is told once. From there on the request's id is free.
  CallNews Take();

  // The answer is sent, or nobody wants it any more: cancels the request if it still runs, and lets
  // go of the call when it has ended. Called once.
  void Abandon();

 private:
  void Advance() override;
  void Fail(const absl::Status& status) override;
  bool HasEnded() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::function<void()> wake_;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);  // Why the engine never had it.
  bool told_prompt_info_ ABSL_GUARDED_BY(mutex_) = false;
  bool told_end_ ABSL_GUARDED_BY(mutex_) = false;
  bool abandoned_ ABSL_GUARDED_BY(mutex_) = false;
  bool released_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace ebb::server
