// VllmService: vLLM's gRPC contract over an engine, so that gateways that know it can stand in
// front of this server. Generate is a GenerateCall like those of our own interface; the rest is
// answered from what the engine tells of itself, and never waits for it.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "grpcpp/grpcpp.h"
#include "proto/ebb.pb.h"
#include "proto/vllm_engine.grpc.pb.h"
#include "server/generate_call.h"

namespace ebb::server {

struct VllmOptions {
  v1::GetModelInfoResponse model_info;
  int32_t pad_token_id = 0;
  std::string version;
  std::string kv_dtype;
  int32_t running_requests_max = 0;
  // A zip archive with the tokenizer's files, or why there is none; outlives the service. Required.
  const absl::StatusOr<std::string>* tokenizer_archive = nullptr;
};

// Thread-safe. `resources` outlives it and every call.
class VllmService final : public ::vllm::grpc::engine::VllmEngine::CallbackService {
 public:
  // `clock` tells the uptime; it is the resources' own.
  VllmService(VllmOptions options, CallResources* resources, const base::Clock* clock);

  grpc::ServerWriteReactor<::vllm::grpc::engine::GenerateResponse>* Generate(
      grpc::CallbackServerContext* context,
      const ::vllm::grpc::engine::GenerateRequest* request) override;
  grpc::ServerUnaryReactor* Abort(grpc::CallbackServerContext* context,
                                  const ::vllm::grpc::engine::AbortRequest* request,
                                  ::vllm::grpc::engine::AbortResponse* response) override;
  grpc::ServerUnaryReactor* HealthCheck(
      grpc::CallbackServerContext* context, const ::vllm::grpc::engine::HealthCheckRequest* request,
      ::vllm::grpc::engine::HealthCheckResponse* response) override;
  grpc::ServerUnaryReactor* GetModelInfo(
      grpc::CallbackServerContext* context,
      const ::vllm::grpc::engine::GetModelInfoRequest* request,
      ::vllm::grpc::engine::GetModelInfoResponse* response) override;
  grpc::ServerUnaryReactor* GetServerInfo(
      grpc::CallbackServerContext* context,
      const ::vllm::grpc::engine::GetServerInfoRequest* request,
      ::vllm::grpc::engine::GetServerInfoResponse* response) override;
  grpc::ServerUnaryReactor* GetLoads(grpc::CallbackServerContext* context,
                                     const ::vllm::grpc::engine::GetLoadsRequest* request,
                                     ::vllm::grpc::engine::GetLoadsResponse* response) override;
  grpc::ServerWriteReactor<::vllm::grpc::engine::GetTokenizerChunk>* GetTokenizer(
      grpc::CallbackServerContext* context,
      const ::vllm::grpc::engine::GetTokenizerRequest* request) override;
  grpc::ServerUnaryReactor* FlushCache(grpc::CallbackServerContext* context,
                                       const ::vllm::grpc::engine::FlushCacheRequest* request,
                                       ::vllm::grpc::engine::FlushCacheResponse* response) override;

 private:
  void FillLoad(::vllm::grpc::engine::SchedulerLoad* load) const;

  const VllmOptions options_;
  CallResources* const resources_;
  const absl::Time start_;
  std::string tokenizer_sha256_;                  // In hexadecimal; set once.
  std::atomic<int64_t> last_generate_nanos_ = 0;  // Since 1970.
};

}  // namespace ebb::server
