// GatewayTest: the services of others' contracts beside our own, on a real socket of the loopback.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/kserve.grpc.pb.h"
#include "proto/vllm_engine.grpc.pb.h"
#include "server/kserve/kserve_service.h"
#include "server/vllm/vllm_service.h"
#include "tests/server/service_fixture.h"

namespace ebb::server {

class GatewayTest : public ServiceTest {
 protected:
  explicit GatewayTest(AccessGate* access = nullptr, AccessGate* operators = nullptr)
      : ServiceTest(access, operators) {
    VllmOptions options;
    options.model_info.set_name("fake");
    options.model_info.set_architecture("llama");
    options.model_info.set_context_tokens(kContextTokens);
    options.model_info.set_vocabulary_tokens(FakeTextCodec::kVocabularyTokens);
    options.model_info.set_kv_bytes_per_token(10);
    options.model_info.set_kernels("avx2");
    options.model_info.add_eos_token_ids(FakeTextCodec::kEnd);
    options.version = "test";
    options.kv_dtype = "f16";
    options.running_requests_max = 8;
    options.tokenizer_archive = &archive_;
    vllm_ = std::make_unique<VllmService>(std::move(options), &resources_, &clock_);
    kserve_ = std::make_unique<KserveService>(KserveOptions{"fake", "test"}, &resources_);
    GrpcServerOptions listen;
    listen.listen = *ParseListenAddress("127.0.0.1:0");
    gateway_server_ = *GrpcServer::Start(
        listen, {{vllm_.get(), ::vllm::grpc::engine::VllmEngine::service_full_name()},
                 {kserve_.get(), ::inference::GRPCInferenceService::service_full_name()}});
    gateway_channel_ = grpc::CreateChannel(gateway_server_->address().ToString(),
                                           grpc::InsecureChannelCredentials());
    vllm_stub_ = ::vllm::grpc::engine::VllmEngine::NewStub(gateway_channel_);
    kserve_stub_ = ::inference::GRPCInferenceService::NewStub(gateway_channel_);
  }
  ~GatewayTest() override { gateway_server_->Shutdown(absl::Seconds(10)); }

  // The least that KServe's contract asks for.
  static ::inference::ModelInferRequest InferRequest() {
    ::inference::ModelInferRequest request;
    request.set_model_name("fake");
    auto* const input = request.add_inputs();
    input->set_name("text_input");
    input->set_datatype("BYTES");
    input->add_shape(1);
    input->mutable_contents()->add_bytes_contents("hi");
    return request;
  }

  absl::StatusOr<std::string> archive_ = std::string(150'000, 'z');
  std::unique_ptr<VllmService> vllm_;
  std::unique_ptr<KserveService> kserve_;
  std::unique_ptr<GrpcServer> gateway_server_;
  std::shared_ptr<grpc::Channel> gateway_channel_;
  std::unique_ptr<::vllm::grpc::engine::VllmEngine::Stub> vllm_stub_;
  std::unique_ptr<::inference::GRPCInferenceService::Stub> kserve_stub_;
};

}  // namespace ebb::server
