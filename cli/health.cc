#include "cli/health.h"

#include <future>

#include "google/protobuf/wrappers.pb.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/impl/codegen/proto_utils.h"

namespace ebb::cli {

// Debian's gRPC brings no generated client for its health service. Its two messages, one string and
// one enumeration in field 1, have the same wire form as protobuf's wrapper types.
grpc::Status CheckHealth(const Connection& connection, grpc::ClientContext* context,
                         std::string* answer) {
  grpc::TemplatedGenericStub<google::protobuf::StringValue, google::protobuf::Int32Value> stub(
      connection.channel());
  const google::protobuf::StringValue whole_server;
  google::protobuf::Int32Value status_value;
  std::promise<grpc::Status> done;
  stub.UnaryCall(context, "/grpc.health.v1.Health/Check", grpc::StubOptions(), &whole_server,
                 &status_value, [&done](grpc::Status status) { done.set_value(status); });
  const grpc::Status status = done.get_future().get();
  constexpr int kServing = 1;
  constexpr int kNotServing = 2;
  switch (status_value.value()) {
    case kServing:
      *answer = "SERVING";
      break;
    case kNotServing:
      *answer = "NOT_SERVING";
      break;
    default:
      *answer = "UNKNOWN";
  }
  return status;
}

}  // namespace ebb::cli
