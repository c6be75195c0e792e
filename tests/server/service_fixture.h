// ServiceTest: the services on a real socket of the loopback, over a FakeEngine and byte tokens.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "grpcpp/grpcpp.h"
#include "proto/ebb.grpc.pb.h"
#include "proto/health.grpc.pb.h"
#include "server/control_service.h"
#include "server/grpc_server.h"
#include "server/inference_service.h"
#include "tests/server/calls_fixture.h"
#include "tests/server/wait_until.h"

namespace ebb::server {

class ServiceTest : public CallsTest {
 protected:
  static constexpr int64_t kMessageBytesMax = 1 << 20;

  explicit ServiceTest(AccessGate* access = nullptr, AccessGate* operators = nullptr,
                       absl::Duration peer_timeout = GrpcServerOptions().peer_timeout)
      : CallsTest(access) {
    ControlOptions control;
    control.gate = ControlGate(access, operators);
    control.refusals = &refusals_;
    control.model_info.set_name("fake");
    control.version = "test";
    control.config_hash = "0123";
    control.memory_ceiling_bytes = 1'000'000;
    control.limit_timeout = absl::Seconds(1);
    control.drain_grace = absl::Seconds(3);
    control.drain = [this](absl::Duration grace) {
      base::MutexLock lock(&mutex_);
      drain_graces_.push_back(grace);
    };
    control.is_draining = [this] { return progress_.draining(); };
    control_ = std::make_unique<ControlService>(std::move(control), &engine_, &clock_);
    inference_ = std::make_unique<InferenceService>(&resources_);
    GrpcServerOptions options;
    options.listen = *ParseListenAddress("127.0.0.1:0");
    options.reflection = access == nullptr;
    options.message_bytes_max = kMessageBytesMax;
    options.peer_timeout = peer_timeout;
    server_ = *GrpcServer::Start(options, {{inference_.get(), v1::Inference::service_full_name()},
                                           {control_.get(), v1::Control::service_full_name()}});
    channel_ = NewChannel();
    stub_ = v1::Inference::NewStub(channel_);
    control_stub_ = v1::Control::NewStub(channel_);
  }
  ~ServiceTest() override { server_->Shutdown(absl::Seconds(10)); }

  std::shared_ptr<grpc::Channel> NewChannel() const {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // A connection of its own.
    arguments.SetMaxReceiveMessageSize(-1);
    return grpc::CreateCustomChannel(server_->address().ToString(),
                                     grpc::InsecureChannelCredentials(), arguments);
  }

  grpc::Status Generate(const v1::GenerateRequest& request, v1::GenerateResponse* response) {
    grpc::ClientContext context;
    return stub_->Generate(&context, request, response);
  }

  static v1::GenerateRequest Ask(const std::string& text) {
    v1::GenerateRequest request;
    request.set_text(text);
    return request;
  }

  base::Mutex mutex_;
  std::vector<absl::Duration> drain_graces_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<ControlService> control_;
  std::unique_ptr<InferenceService> inference_;
  std::unique_ptr<GrpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Inference::Stub> stub_;
  std::unique_ptr<v1::Control::Stub> control_stub_;
};

}  // namespace ebb::server
