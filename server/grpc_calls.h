// GenerateCalls on gRPC: they are reactors of gRPC at once. streaming_call.h has those that stream.
//
// gRPC's share in a call ends with OnDone. OnCancel comes when the client left or the deadline
// passed, for unary calls too.
#pragma once

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "grpcpp/grpcpp.h"
#include "proto/ebb.pb.h"
#include "server/generate_call.h"
#include "server/grpc_status.h"

namespace ebb::server {

// When the call's client gives up, by our clock.
absl::Time DeadlineOf(const grpc::CallbackServerContext& context, const base::Clock& clock);

// What every kind of call has on gRPC. Thread-safe.
class GrpcCall : public GenerateCall {
 protected:
  // With gRPC's deadline.
  GrpcCall(CallResources* resources, grpc::CallbackServerContext* context);

  // The status on the wire, about to be sent. A request that failed on its way tells in trailers
  // what it had cost.
  grpc::Status EndStatus() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Likewise where the request was refused: when to try again is in a trailer.
  grpc::Status Refusal(const absl::Status& status);

 private:
  grpc::CallbackServerContext* const context_;
};

// A call with one answer, sent when it is complete.
class WholeCall : public GrpcCall, public grpc::ServerUnaryReactor {
 public:
  void OnCancel() override { CancelRequest(); }
  void OnDone() override { Release(); }

 protected:
  using GrpcCall::GrpcCall;

  // Fills the response. REQUIRES: the answer has ended, and well.
  virtual void FillResponse() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;

 private:
  bool streams() const override { return false; }
  void Advance() override;
  void Fail(const absl::Status& status) override { Finish(Refusal(status)); }

  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace ebb::server
