// GenerateCall: one request to generate, between a transport and the engine. What a transport adds
// (grpc_calls.h) is how an answer is written there.
//
//   transport's thread  Start: read -> LiveCalls -> Engine::Submit
//   engine's thread     OnToken: Answer, a note to the pump          (never blocks)
//   pump's thread       Advance: the transport begins to write
//   transport's thread  written: Advance again; the client left: CancelRequest; the end: Release
//
// The call is owned jointly: by its transport from Start until Release, by the engine until
// OnFinish, by the pump while queued. A reader that is slow delays writes; the answer then waits in
// Answer, not in the engine. A client that leaves, or whose deadline passes, cancels the request in
// the engine, also while nothing has been written.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "engine/engine.h"
#include "proto/ebb.pb.h"
#include "server/access.h"
#include "server/answers.h"
#include "server/call_pump.h"
#include "server/live_calls.h"
#include "server/metrics/request_metrics.h"
#include "server/progress_monitor.h"
#include "server/quotas.h"
#include "server/refusal_log.h"
#include "server/request_reader.h"

namespace ebb::server {

// What all calls share. The things pointed to outlive every call.
struct CallResources {
  engine::Engine* engine = nullptr;
  const RequestReader* reader = nullptr;
  const TextCodec* codec = nullptr;
  LiveCalls* live_calls = nullptr;
  CallPump* pump = nullptr;
  const base::Clock* clock = nullptr;
  RefusalLog* refusals = nullptr;
  Quotas* quotas = nullptr;      // Null: tenants have none.
  AccessGate* access = nullptr;  // Null: everybody may use the server.
  const ProgressMonitor* progress = nullptr;
  RequestMetrics* metrics = nullptr;
  uint64_t process_seed = 0;  // Random; seeds requests that set none, and names those without id.
  std::atomic<uint64_t> next_serial = 0;
};

// Thread-safe.
class GenerateCall : public engine::RequestSink,
                     public PumpTask,
                     public std::enable_shared_from_this<GenerateCall> {
 public:
  // Reads and submits the request, or ends the call with what is wrong. Called once.
  // An error instead of a `caller` is what is wrong.
  void Start(const v1::GenerateRequest& in, const absl::StatusOr<Caller>& caller);
  // Instead of Start, for what could not be made a request of ours: `status` is not OK.
  void Refuse(const absl::Status& status);

  // The engine's side.
  void OnPromptLogprobs(std::vector<engine::PromptLogprob> logprobs) override;
  engine::SinkAnswer OnToken(const engine::Token& token) override;
  void OnAnswerFinish(int32_t answer, const engine::Finish& finish) override;
  void OnFinish(const engine::Finish& finish) override;

  void RunFromPump() override;

 protected:
  // `deadline` is by the resources' clock.
  GenerateCall(CallResources* resources, absl::Time deadline)
      : resources_(resources), deadline_(deadline) {}

  // Whether tokens are told as they come, and not all at the end.
  virtual bool streams() const { return true; }
  // Does the next thing that can be done on the wire, if any. Called with nothing held, from any
  // thread, and by several at once.
  virtual void Advance() = 0;
  // Ends the call before the engine had it; `status` is not OK. Called once, and then neither
  // Advance nor anything else.
  virtual void Fail(const absl::Status& status) = 0;

  // The client left, its deadline passed, or somebody ended the request by its id.
  void CancelRequest();
  // The transport is done with the call. Called once.
  void Release();
  // How the answer ended, about to be told: from here on the request's id is free, and so is its
  // place among its tenant's.
  // REQUIRES: answers_->ended().
  const engine::Finish& TakeFinish() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The client's, or one that was made. Valid once the request is accepted; empty before it is
  // read.
  const std::string& request_id() const { return request_id_; }

  base::Mutex mutex_;
  // Null until the request has been read.
  std::unique_ptr<Answers> answers_ ABSL_GUARDED_BY(mutex_);
  v1::PromptInfo prompt_info_ ABSL_GUARDED_BY(mutex_);
  // The engine has taken the request: from here on Advance may run.
  bool accepted_ ABSL_GUARDED_BY(mutex_) = false;

 private:
  absl::Status Submit(const v1::GenerateRequest& in, const absl::StatusOr<Caller>& caller);
  void Wake();

  CallResources* const resources_;
  const absl::Time deadline_;
  std::shared_ptr<GenerateCall> self_;  // The transport's share.
  LiveCalls::Ticket ticket_;
  Quotas::Ticket quota_;
  std::optional<RequestTimes> times_;  // Set before the engine has the request.
  std::string request_id_;             // Set before Submit.
  engine::RequestId engine_id_ ABSL_GUARDED_BY(mutex_) = 0;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<bool> in_pump_ = false;
};

}  // namespace ebb::server
