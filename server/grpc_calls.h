// The calls of ebb.v1.Inference on gRPC: GenerateCalls that are reactors of gRPC at once.
//
// gRPC's share in a call ends with OnDone. OnCancel comes when the client left or the deadline
// passed, for unary calls too.
#pragma once

#include "absl/status/status.h"
#include "grpcpp/grpcpp.h"
#include "proto/ebb.grpc.pb.h"
#include "server/generate_call.h"
#include "server/grpc_status.h"

namespace ebb::server {

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

class UnaryCall final : public GrpcCall, public grpc::ServerUnaryReactor {
 public:
  UnaryCall(CallResources* resources, grpc::CallbackServerContext* context,
            v1::GenerateResponse* response)
      : GrpcCall(resources, context), response_(response) {}

  void OnCancel() override { CancelRequest(); }
  void OnDone() override { Release(); }

 private:
  void Advance() override;
  void Fail(const absl::Status& status) override { Finish(Refusal(status)); }

  v1::GenerateResponse* const response_;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

class StreamCall final : public GrpcCall,
                         public grpc::ServerWriteReactor<v1::GenerateStreamResponse> {
 public:
  StreamCall(CallResources* resources, grpc::CallbackServerContext* context)
      : GrpcCall(resources, context) {}

  void OnWriteDone(bool ok) override;
  void OnCancel() override { CancelRequest(); }
  void OnDone() override { Release(); }

 private:
  enum class Next { kNothing, kWrite, kWriteAndFinish, kFinish };

  void Advance() override;
  void Fail(const absl::Status& status) override { Finish(Refusal(status)); }
  Next PickNext(grpc::Status* status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Belongs to gRPC while writing_, else to whoever holds the mutex.
  v1::GenerateStreamResponse message_;
  bool prompt_info_sent_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;  // A write failed: nothing can be written any more.
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace ebb::server
