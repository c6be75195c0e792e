// InferStream: one ModelStreamInfer on gRPC, and StreamedInfer: one request on it.
//
//   gRPC ──read──> StreamedInfer ──Start──> engine
//                      │ Advance: "I have something"
//                      v
//   gRPC <──write── InferStream: those that have something, in turn, one message at a time
//
// Requests on a stream are at work at the same time and do not wait for each other. When too many
// are, the next is not read before one of them has ended. What a slow reader has not taken waits in
// each request's Answer.
#pragma once

#include <atomic>
#include <cstddef>
#include <deque>
#include <memory>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "grpcpp/grpcpp.h"
#include "proto/kserve.pb.h"
#include "server/generate_call.h"
#include "server/kserve/infer_request.h"
#include "server/kserve/infer_response.h"

namespace ebb::server {

class StreamedInfer;

// Thread-safe. Owns itself until gRPC is done with it.
class InferStream final : public grpc::ServerBidiReactor<::inference::ModelInferRequest,
                                                         ::inference::ModelStreamInferResponse>,
                          public std::enable_shared_from_this<InferStream> {
 public:
  static constexpr size_t kCallsMax = 256;

  InferStream(CallResources* resources, grpc::CallbackServerContext* context)
      : resources_(resources), context_(context) {}

  // Begins to read. Called once.
  void Start();

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override { self_.reset(); }

  // The call has something to send, or has ended.
  void Post(std::shared_ptr<StreamedInfer> call);

 private:
  // Writes the next message, if there is one and none is being written; ends the stream once
  // nothing more can come.
  void Advance();
  std::shared_ptr<StreamedInfer> TakeReady(bool* end);
  void EndCall(const std::shared_ptr<StreamedInfer>& call);
  void CancelAll();

  CallResources* const resources_;
  grpc::CallbackServerContext* const context_;
  std::shared_ptr<InferStream> self_;
  absl::StatusOr<Caller> caller_;  // Set by Start.

  ::inference::ModelInferRequest request_;         // Belongs to gRPC while reading_.
  ::inference::ModelStreamInferResponse message_;  // Belongs to whoever has set writing_.
  std::shared_ptr<StreamedInfer> ending_;          // Likewise: `message_` is this one's last.

  base::Mutex mutex_;
  std::unordered_set<std::shared_ptr<StreamedInfer>> calls_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::shared_ptr<StreamedInfer>> ready_ ABSL_GUARDED_BY(mutex_);
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool no_more_requests_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;  // Nothing can be written any more.
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

// Thread-safe.
class StreamedInfer final : public GenerateCall {
 public:
  enum class Taken { kNothing, kMessage, kLastMessage };

  StreamedInfer(CallResources* resources, absl::Time deadline, std::shared_ptr<InferStream> stream)
      : GenerateCall(resources, deadline), stream_(std::move(stream)) {}

  // Translates the request and starts it. Called once.
  void Start(const ::inference::ModelInferRequest& in, const absl::StatusOr<Caller>& caller);

  // Moves out what can be sent now; `message` comes empty.
  Taken Take(::inference::ModelStreamInferResponse* message);
  // To be called before Take, so that what comes from then on is posted again.
  void MarkTaken() { posted_.store(false); }

  using GenerateCall::CancelRequest;
  using GenerateCall::Release;

 private:
  bool streams() const override { return request_.stream; }
  void Advance() override;
  void Fail(const absl::Status& status) override;
  // Of a streamed answer: what came since the last time. False when nothing did.
  bool TakeParts() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FillError(const absl::Status& status, ::inference::ModelStreamInferResponse* message) const;

  const std::shared_ptr<InferStream> stream_;
  InferRequest request_;  // Set by Start.
  std::atomic<bool> posted_ = false;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  std::vector<InferPart> parts_ ABSL_GUARDED_BY(mutex_);  // By answer; of one that is streamed.
  bool done_ ABSL_GUARDED_BY(mutex_) = false;             // The last message has been taken.
};

}  // namespace ebb::server
