#include "tests/e2e/client.h"

#include <chrono>

#include "gtest/gtest.h"

namespace ebb::tests {
namespace {

// Longer than any answer takes, so that a server that hangs fails a test and does not stop it.
void SetLimit(grpc::ClientContext* context) {
  context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(120));
}

}  // namespace

v1::GenerateRequest Greedy(const std::string& prompt, int64_t tokens) {
  v1::GenerateRequest request;
  request.set_text(prompt);
  request.mutable_sampling()->set_temperature(0);
  request.mutable_stopping()->set_max_tokens(tokens);
  request.mutable_stopping()->set_ignore_eos(true);
  request.mutable_output()->set_return_token_ids(true);
  return request;
}

Client::Client(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(-1);
  channel_ = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  inference_ = v1::Inference::NewStub(channel_);
  control_ = v1::Control::NewStub(channel_);
  health_ = grpc::health::v1::Health::NewStub(channel_);
}

Streamed Client::Stream(const v1::GenerateRequest& request,
                        const std::function<bool(const Streamed&)>& on_delta,
                        grpc::ClientContext* context) {
  grpc::ClientContext own_context;
  if (context == nullptr) {
    context = &own_context;
    SetLimit(context);
  }
  Streamed streamed;
  const auto stream = inference_->GenerateStream(context, request);
  for (v1::GenerateStreamResponse message; stream->Read(&message);) {
    EXPECT_EQ(streamed.finished_count, 0) << "nothing comes after Finished";
    if (message.has_prompt_info()) {
      streamed.accepted = true;
      streamed.request_id = message.prompt_info().request_id();
    } else if (message.has_delta()) {
      streamed.text += message.delta().text();
      streamed.token_ids.insert(streamed.token_ids.end(), message.delta().token_ids().begin(),
                                message.delta().token_ids().end());
      if (on_delta && !on_delta(streamed)) context->TryCancel();
    } else if (message.has_finished()) {
      ++streamed.finished_count;
      streamed.finished = message.finished();
    }
  }
  streamed.status = stream->Finish();
  return streamed;
}

grpc::Status Client::Generate(const v1::GenerateRequest& request, v1::GenerateResponse* response) {
  grpc::ClientContext context;
  SetLimit(&context);
  return inference_->Generate(&context, request, response);
}

v1::GetMemoryResponse Client::Memory() {
  grpc::ClientContext context;
  SetLimit(&context);
  v1::GetMemoryResponse memory;
  const grpc::Status status = control_->GetMemory(&context, {}, &memory);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return memory;
}

v1::GetServerInfoResponse Client::Info() {
  grpc::ClientContext context;
  SetLimit(&context);
  v1::GetServerInfoResponse info;
  const grpc::Status status = control_->GetServerInfo(&context, {}, &info);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return info;
}

int Client::Health() {
  grpc::ClientContext context;
  SetLimit(&context);
  grpc::health::v1::HealthCheckResponse response;
  const grpc::Status status = health_->Check(&context, {}, &response);
  return status.ok() ? static_cast<int>(response.status()) : -1;
}

}  // namespace ebb::tests
