// StreamingCall: a GenerateCall whose answer is a stream of messages on gRPC. It keeps the order of
// writes; what the messages are is its heir's.
//
//   Advance ──> FillNext, FillNext, ... ──> answer ended: FillLast ──> the call's status
//        └──── one write at a time; OnWriteDone goes on
#pragma once

#include <utility>

#include "grpcpp/grpcpp.h"
#include "server/grpc_calls.h"

namespace ebb::server {

// Thread-safe.
template <typename Message>
class StreamingCall : public GrpcCall, public grpc::ServerWriteReactor<Message> {
 public:
  StreamingCall(CallResources* resources, grpc::CallbackServerContext* context)
      : GrpcCall(resources, context) {}

  void OnWriteDone(bool ok) override {
    {
      base::MutexLock lock(&mutex_);
      writing_ = false;
      if (!ok) broken_ = true;
    }
    if (!ok) CancelRequest();
    Advance();
  }
  void OnCancel() override { CancelRequest(); }
  void OnDone() override { Release(); }

 protected:
  // Fills the next message, which comes empty. False when there is none at this moment.
  virtual bool FillNext(Message* message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;
  // The answer has ended and FillNext has no more: fills the last message, and gives the call's
  // status. Unless that is OK the message is not sent.
  virtual grpc::Status FillLast(Message* message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;

 private:
  enum class Next { kNothing, kWrite, kWriteAndFinish, kFinish };

  void Advance() override {
    grpc::Status status;
    Next next = Next::kNothing;
    {
      base::MutexLock lock(&mutex_);
      next = PickNext(&status);
    }
    // Outside the mutex. What was picked excludes every other action until gRPC has called back.
    switch (next) {
      case Next::kNothing:
        return;
      case Next::kWrite:
        return this->StartWrite(&message_);
      case Next::kWriteAndFinish:
        return this->StartWriteAndFinish(&message_, grpc::WriteOptions(), std::move(status));
      case Next::kFinish:
        return this->Finish(std::move(status));
    }
  }
  void Fail(const absl::Status& status) override { this->Finish(Refusal(status)); }

  Next PickNext(grpc::Status* status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!accepted_ || writing_ || finished_) return Next::kNothing;
    message_.Clear();
    if (!broken_ && FillNext(&message_)) {
      writing_ = true;
      return Next::kWrite;
    }
    if (!answers_->ended()) return Next::kNothing;
    finished_ = true;
    *status = FillLast(&message_);
    return broken_ || !status->ok() ? Next::kFinish : Next::kWriteAndFinish;
  }

  // Belongs to gRPC while writing_, else to whoever holds the mutex.
  Message message_;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;  // A write failed: nothing can be written any more.
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace ebb::server
