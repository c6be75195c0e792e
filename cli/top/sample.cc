#include "cli/top/sample.h"

#include <chrono>

#include "absl/strings/str_cat.h"

namespace ebb::cli {
namespace {

// The calls of one sample share a deadline.
class Asker {
 public:
  Asker(absl::Duration timeout, Interrupt* interrupt)
      : deadline_(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(timeout)),
        interrupt_(interrupt) {}

  // One of Control's calls that take nothing; `call` is the stub's method.
  template <typename Request, typename Response>
  grpc::Status Ask(v1::Control::Stub* stub,
                   grpc::Status (v1::Control::Stub::*call)(grpc::ClientContext*, const Request&,
                                                           Response*),
                   Response* response) const {
    grpc::ClientContext context;
    context.set_deadline(deadline_);
    const Interrupt::Scope cancel(interrupt_, [&context] { context.TryCancel(); });
    return (stub->*call)(&context, {}, response);
  }

 private:
  const std::chrono::system_clock::time_point deadline_;
  Interrupt* const interrupt_;
};

grpc::Status AskAll(const Asker& asker, v1::Control::Stub* stub, Sample* sample) {
  using Stub = v1::Control::Stub;
  grpc::Status status = asker.Ask(stub, &Stub::GetModelInfo, &sample->model);
  if (status.ok()) status = asker.Ask(stub, &Stub::GetServerInfo, &sample->server);
  if (status.ok()) status = asker.Ask(stub, &Stub::GetMemory, &sample->memory);
  if (!status.ok()) return status;
  status = asker.Ask(stub, &Stub::GetWindows, &sample->windows.emplace());
  if (status.error_code() != grpc::StatusCode::UNIMPLEMENTED) return status;
  sample->windows.reset();
  return grpc::Status::OK;
}

}  // namespace

Sample TakeSample(const Connection& connection, absl::Duration timeout, const base::Clock& clock,
                  Interrupt* interrupt) {
  Sample sample;
  const grpc::Status status = AskAll(Asker(timeout, interrupt), connection.control(), &sample);
  if (!status.ok()) {
    sample = Sample();
    sample.error =
        connection.IsUnreachable(status)
            ? absl::StrCat("no server answers at ", connection.address())
            : absl::StrCat(StatusCodeName(status.error_code()), ": ", status.error_message());
  }
  sample.status = status;
  sample.time = clock.Now();
  return sample;
}

}  // namespace ebb::cli
