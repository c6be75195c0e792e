// ControlService: ebb.v1.Control, what operators ask and set.
//
// Reading never waits for the engine's steps. SetMemoryLimit does wait, for memory to be given
// back: it runs on a thread of its own, one call after the other, so that no gRPC thread is held
// up.
#pragma once

#include <functional>
#include <string>
#include <thread>

#include "absl/time/time.h"
#include "base/bounded_queue.h"
#include "base/clock.h"
#include "engine/engine.h"
#include "grpcpp/grpcpp.h"
#include "proto/ebb.grpc.pb.h"
#include "server/access.h"
#include "server/refusal_log.h"

namespace ebb::server {

struct ControlOptions {
  v1::GetModelInfoResponse model_info;
  std::string version;
  std::string config_hash;
  int64_t memory_ceiling_bytes = 0;  // The limit can be set up to this.
  absl::Duration limit_timeout;      // SetMemoryLimit's deadline when it names none, at most.
  absl::Duration drain_grace;        // When a Drain call names none.
  // Starts the drain; returns at once.
  std::function<void(absl::Duration grace)> drain;
  std::function<bool()> is_draining;
  ControlGate gate = {nullptr, nullptr};
  RefusalLog* refusals = nullptr;  // Outlives the service.
};

// Thread-safe. `engine` and `clock` outlive it; the gRPC server is shut down before it goes.
class ControlService final : public v1::Control::CallbackService {
 public:
  ControlService(ControlOptions options, engine::Engine* engine, const base::Clock* clock);
  ~ControlService() override;

  grpc::ServerUnaryReactor* GetModelInfo(grpc::CallbackServerContext* context,
                                         const v1::GetModelInfoRequest* request,
                                         v1::GetModelInfoResponse* response) override;
  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const v1::GetServerInfoRequest* request,
                                          v1::GetServerInfoResponse* response) override;
  grpc::ServerUnaryReactor* GetMemory(grpc::CallbackServerContext* context,
                                      const v1::GetMemoryRequest* request,
                                      v1::GetMemoryResponse* response) override;
  grpc::ServerUnaryReactor* GetWindows(grpc::CallbackServerContext* context,
                                       const v1::GetWindowsRequest* request,
                                       v1::GetWindowsResponse* response) override;
  grpc::ServerUnaryReactor* SetMemoryLimit(grpc::CallbackServerContext* context,
                                           const v1::SetMemoryLimitRequest* request,
                                           v1::SetMemoryLimitResponse* response) override;
  grpc::ServerUnaryReactor* Drain(grpc::CallbackServerContext* context,
                                  const v1::DrainRequest* request,
                                  v1::DrainResponse* response) override;

 private:
  // For a caller who is no operator: the call, ended. Null for one who is.
  grpc::ServerUnaryReactor* RefuseOthers(grpc::CallbackServerContext* context) const;

  const ControlOptions options_;
  engine::Engine* const engine_;
  const base::Clock* const clock_;
  const absl::Time start_time_;
  base::BoundedQueue<std::function<void()>> limit_calls_;
  std::thread limit_thread_;  // Must be the last member: it uses the others.
};

}  // namespace ebb::server
