// GenerateCall: one Generate or GenerateStream call, between gRPC and the engine.
//
//   gRPC thread    Start: read -> LiveCalls -> Engine::Submit
//   engine thread  OnToken: Answer, a note to the pump          (never blocks)
//   pump's thread  Advance: StartWrite, Finish
//   gRPC thread    OnWriteDone: Advance again; OnCancel: Engine::Cancel; OnDone: the end
//
// The call is owned jointly: by gRPC from its making until OnDone, by the engine until OnFinish, by
// the pump while queued. A reader that is slow delays writes; the answer then waits in Answer, not
// in the engine. A client that leaves, or whose deadline passes, cancels the request in the engine,
// for unary calls too.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "engine/engine.h"
#include "grpcpp/grpcpp.h"
#include "proto/ebb.grpc.pb.h"
#include "server/answer.h"
#include "server/call_pump.h"
#include "server/live_calls.h"
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
  uint64_t process_seed = 0;  // Random; seeds requests that set none, and names those without id.
  std::atomic<uint64_t> next_serial = 0;
};

// Thread-safe.
class GenerateCall : public engine::RequestSink,
                     public PumpTask,
                     public std::enable_shared_from_this<GenerateCall> {
 public:
  // Reads and submits the request, or ends the call with what is wrong.
  void Start(const v1::GenerateRequest& in);

  // The engine's side.
  void OnPromptLogprobs(std::vector<engine::PromptLogprob> logprobs) override;
  engine::SinkAnswer OnToken(const engine::Token& token) override;
  void OnFinish(const engine::Finish& finish) override;

  void RunFromPump() override;

 protected:
  GenerateCall(CallResources* resources, grpc::CallbackServerContext* context)
      : resources_(resources), context_(context) {}

  // Does the next thing that can be done on the wire, if any. Called with nothing held.
  virtual void Advance() = 0;
  // Ends the call; `status` is not OK. Called once, and not after Advance ended it.
  virtual void Fail(const grpc::Status& status) = 0;

  // The client left or its deadline passed.
  void CancelRequest();
  // gRPC is done with the call.
  void Release();
  // The status on the wire, about to be sent: from here on the request's id is free. A request that
  // failed on its way tells in trailers what it had cost.
  grpc::Status EndStatus() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  base::Mutex mutex_;
  // Null until the request has been read.
  std::unique_ptr<Answer> answer_ ABSL_GUARDED_BY(mutex_);
  v1::PromptInfo prompt_info_ ABSL_GUARDED_BY(mutex_);
  // The engine has taken the request: from here on Advance may run.
  bool accepted_ ABSL_GUARDED_BY(mutex_) = false;

 private:
  absl::Status Submit(const v1::GenerateRequest& in);
  void Wake();

  CallResources* const resources_;
  grpc::CallbackServerContext* const context_;
  std::shared_ptr<GenerateCall> self_;  // gRPC's share.
  LiveCalls::Ticket ticket_;
  std::string request_id_;  // Set before Submit.
  absl::Time deadline_ = absl::InfiniteFuture();
  engine::RequestId engine_id_ ABSL_GUARDED_BY(mutex_) = 0;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<bool> in_pump_ = false;
};

class UnaryCall final : public GenerateCall, public grpc::ServerUnaryReactor {
 public:
  UnaryCall(CallResources* resources, grpc::CallbackServerContext* context,
            v1::GenerateResponse* response)
      : GenerateCall(resources, context), response_(response) {}

  void OnCancel() override { CancelRequest(); }
  void OnDone() override { Release(); }

 private:
  void Advance() override;
  void Fail(const grpc::Status& status) override { Finish(status); }

  v1::GenerateResponse* const response_;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

class StreamCall final : public GenerateCall,
                         public grpc::ServerWriteReactor<v1::GenerateStreamResponse> {
 public:
  StreamCall(CallResources* resources, grpc::CallbackServerContext* context)
      : GenerateCall(resources, context) {}

  void OnWriteDone(bool ok) override;
  void OnCancel() override { CancelRequest(); }
  void OnDone() override { Release(); }

 private:
  enum class Next { kNothing, kWrite, kWriteAndFinish, kFinish };

  void Advance() override;
  void Fail(const grpc::Status& status) override { Finish(status); }
  Next PickNext(grpc::Status* status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Belongs to gRPC while writing_, else to whoever holds the mutex.
  v1::GenerateStreamResponse message_;
  bool prompt_info_sent_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;  // A write failed: nothing can be written any more.
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace ebb::server
