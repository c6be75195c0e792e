// Client: the few calls that the end-to-end tests make, on a connection of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "grpcpp/grpcpp.h"
#include "proto/ebb.grpc.pb.h"
#include "proto/health.grpc.pb.h"

namespace ebb::tests {

// What a stream brought.
struct Streamed {
  grpc::Status status;
  bool accepted = false;  // The PromptInfo came.
  std::string request_id;
  std::string text;
  std::vector<int32_t> token_ids;
  int finished_count = 0;
  v1::Finished finished;
};

// A greedy request for exactly `tokens` tokens, whatever the model says.
v1::GenerateRequest Greedy(const std::string& prompt, int64_t tokens);

class Client {
 public:
  explicit Client(const std::string& address);

  // Reads the whole stream. `on_delta` is called after each Delta, with what has come so far; when
  // it answers false, the call is cancelled.
  Streamed Stream(const v1::GenerateRequest& request,
                  const std::function<bool(const Streamed&)>& on_delta = nullptr,
                  grpc::ClientContext* context = nullptr);

  grpc::Status Generate(const v1::GenerateRequest& request, v1::GenerateResponse* response);
  v1::GetMemoryResponse Memory();
  v1::GetServerInfoResponse Info();
  // -1 when the server does not answer.
  int Health();

  v1::Inference::Stub& inference() { return *inference_; }
  v1::Control::Stub& control() { return *control_; }
  grpc::health::v1::Health::Stub& health() { return *health_; }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

 private:
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Inference::Stub> inference_;
  std::unique_ptr<v1::Control::Stub> control_;
  std::unique_ptr<grpc::health::v1::Health::Stub> health_;
};

}  // namespace ebb::tests
