#include "server/kserve/kserve_service.h"

#include <map>
#include <string>
#include <vector>

#include "tests/server/gateway_fixture.h"

namespace ebb::server {
namespace {

using engine::FakeEngine;
using tests::WaitUntil;

namespace wire = ::inference;

void AddInput(const std::string& name, bool value, wire::ModelInferRequest* request) {
  auto* const input = request->add_inputs();
  input->set_name(name);
  input->set_datatype("BOOL");
  input->add_shape(1);
  input->mutable_contents()->add_bool_contents(value);
}

wire::ModelInferRequest AskInfer(const std::string& text) {
  wire::ModelInferRequest request;
  request.set_model_name("fake");
  auto* const input = request.add_inputs();
  input->set_name("text_input");
  input->set_datatype("BYTES");
  input->add_shape(1);
  input->mutable_contents()->add_bytes_contents(text);
  return request;
}

// The bytes of an output of one element; for BYTES without their length.
std::string OutputOf(const wire::ModelInferResponse& response, const std::string& name) {
  EXPECT_EQ(response.outputs_size(), response.raw_output_contents_size());
  for (int i = 0; i < response.outputs_size(); ++i) {
    if (response.outputs(i).name() != name) continue;
    const std::string& raw = response.raw_output_contents(i);
    return response.outputs(i).datatype() == "BYTES" ? raw.substr(4) : raw;
  }
  return "absent";
}

bool IsFinal(const wire::ModelStreamInferResponse& message) {
  return message.infer_response().parameters().at("triton_final_response").bool_param();
}

class KserveServiceTest : public GatewayTest {
 protected:
  grpc::Status Infer(const wire::ModelInferRequest& request, wire::ModelInferResponse* response) {
    grpc::ClientContext context;
    return kserve_stub_->ModelInfer(&context, request, response);
  }
};

TEST_F(KserveServiceTest, InfersWhole) {
  FakeEngine::Script script;
  script.stop_token_id = FakeTextCodec::kEnd;
  Answers("hello", script);
  wire::ModelInferRequest request = AskInfer("say ");
  request.set_id("my id");
  AddInput("return_finish_reason", true, &request);
  AddInput("return_num_input_tokens", true, &request);
  AddInput("return_num_output_tokens", true, &request);
  wire::ModelInferResponse response;
  const grpc::Status status = Infer(request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.model_name(), "fake");
  EXPECT_EQ(response.id(), "my id");
  EXPECT_EQ(response.raw_output_contents(0), std::string("\x09\0\0\0say hello", 13));
  EXPECT_EQ(OutputOf(response, "text_output"), "say hello");
  EXPECT_EQ(OutputOf(response, "finish_reason"), "stop");
  EXPECT_EQ(OutputOf(response, "num_input_tokens"), std::string("\x04\0\0\0", 4));
  EXPECT_EQ(OutputOf(response, "num_output_tokens"), std::string("\x05\0\0\0", 4));
}

TEST_F(KserveServiceTest, ErrorsAreStatuses) {
  wire::ModelInferResponse response;
  wire::ModelInferRequest request = AskInfer("hi");
  request.set_model_name("other");
  EXPECT_EQ(Infer(request, &response).error_code(), grpc::StatusCode::NOT_FOUND);
  request = AskInfer("hi");
  AddInput("stream", true, &request);
  EXPECT_EQ(Infer(request, &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(engine_.requests().empty());
  engine_.SetSubmitStatus(absl::ResourceExhaustedError("full"));
  EXPECT_EQ(Infer(AskInfer("hi"), &response).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(KserveServiceTest, StreamsAndMarksTheLast) {
  Answers("hello");
  wire::ModelInferRequest request = AskInfer("hi");
  request.set_id("7");
  AddInput("stream", true, &request);
  AddInput("return_finish_reason", true, &request);
  grpc::ClientContext context;
  const auto stream = kserve_stub_->ModelStreamInfer(&context);
  ASSERT_TRUE(stream->Write(request));
  std::string text;
  wire::ModelStreamInferResponse message;
  do {
    ASSERT_TRUE(stream->Read(&message));
    EXPECT_EQ(message.error_message(), "");
    EXPECT_EQ(message.infer_response().id(), "7");
    EXPECT_EQ(OutputOf(message.infer_response(), "finish_reason"),
              IsFinal(message) ? "stop" : "None");
    text += OutputOf(message.infer_response(), "text_output");
  } while (!IsFinal(message));
  EXPECT_EQ(text, "hello");
  // The same stream takes another request, this one for a whole answer.
  ASSERT_TRUE(stream->Write(AskInfer("hi ")));
  ASSERT_TRUE(stream->Read(&message));
  EXPECT_TRUE(IsFinal(message));
  EXPECT_EQ(OutputOf(message.infer_response(), "text_output"), "hi hello");
  stream->WritesDone();
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_TRUE(stream->Finish().ok());
}

// The texts in a tensor.
std::vector<std::string> TextsOf(const wire::ModelInferResponse& response,
                                 const std::string& name) {
  std::vector<std::string> texts;
  for (int i = 0; i < response.outputs_size(); ++i) {
    if (response.outputs(i).name() != name) continue;
    std::string raw = response.raw_output_contents(i);
    while (!raw.empty()) {
      const auto bytes = static_cast<size_t>(static_cast<uint8_t>(raw[0]));
      texts.push_back(raw.substr(4, bytes));
      raw.erase(0, 4 + bytes);
    }
    EXPECT_EQ(response.outputs(i).shape(0), static_cast<int64_t>(texts.size()));
  }
  return texts;
}

using Texts = std::vector<std::string>;

TEST_F(KserveServiceTest, SeveralAnswersAreElements) {
  FakeEngine::Script script;
  script.others = {{{'t', 'w', 'o'}, -0.25f}, {{'f', 'o', 'u', 'r'}, -1.0f}};
  Answers("one", script);
  wire::ModelInferRequest request = AskInfer("a ");
  (*request.mutable_parameters())["n"].set_int64_param(3);
  AddInput("return_finish_reason", true, &request);
  AddInput("return_num_output_tokens", true, &request);
  wire::ModelInferResponse response;
  const grpc::Status status = Infer(request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(TextsOf(response, "text_output"), (Texts{"a one", "a two", "a four"}));
  EXPECT_EQ(TextsOf(response, "finish_reason"), (Texts{"stop", "stop", "stop"}));
  EXPECT_EQ(OutputOf(response, "num_output_tokens"), std::string("\3\0\0\0\3\0\0\0\4\0\0\0", 12));

  (*request.mutable_parameters())["n"].set_int64_param(2);
  (*request.mutable_parameters())["best_of"].set_int64_param(3);
  ASSERT_TRUE(Infer(request, &response).ok());
  EXPECT_EQ(TextsOf(response, "text_output"), (Texts{"a two", "a one"}));

  // On a stream: the same whole, and then in pieces.
  grpc::ClientContext context;
  const auto stream = kserve_stub_->ModelStreamInfer(&context);
  ASSERT_TRUE(stream->Write(request));
  wire::ModelStreamInferResponse message;
  ASSERT_TRUE(stream->Read(&message));
  EXPECT_TRUE(IsFinal(message));
  EXPECT_EQ(TextsOf(message.infer_response(), "text_output"), (Texts{"a two", "a one"}));
  AddInput("stream", true, &request);
  ASSERT_TRUE(stream->Write(request));
  ASSERT_TRUE(stream->Read(&message));
  EXPECT_NE(message.error_message().find("best_of"), std::string::npos);
  request.mutable_parameters()->erase("best_of");
  ASSERT_TRUE(stream->Write(request));
  Texts texts(2);
  Texts reasons;
  do {
    ASSERT_TRUE(stream->Read(&message));
    EXPECT_EQ(message.error_message(), "");
    const Texts pieces = TextsOf(message.infer_response(), "text_output");
    reasons = TextsOf(message.infer_response(), "finish_reason");
    ASSERT_EQ(pieces.size(), 2u);
    for (size_t i = 0; i < 2; ++i) texts[i] += pieces[i];
  } while (!IsFinal(message));
  EXPECT_EQ(texts, (Texts{"one", "two"}));
  EXPECT_EQ(reasons, (Texts{"stop", "stop"}));
}

TEST_F(KserveServiceTest, AnErrorOnAStreamIsOneRequests) {
  Answers("ok");
  grpc::ClientContext context;
  const auto stream = kserve_stub_->ModelStreamInfer(&context);
  wire::ModelInferRequest bad = AskInfer("hi");
  bad.set_model_name("other");
  bad.set_id("bad");
  ASSERT_TRUE(stream->Write(bad));
  wire::ModelStreamInferResponse message;
  ASSERT_TRUE(stream->Read(&message));
  EXPECT_EQ(message.error_message().rfind("NOT_FOUND: ", 0), 0u) << message.error_message();
  EXPECT_EQ(message.infer_response().id(), "bad");
  ASSERT_TRUE(stream->Write(AskInfer("")));  // An empty prompt.
  ASSERT_TRUE(stream->Read(&message));
  EXPECT_EQ(message.error_message().rfind("INVALID_ARGUMENT: ", 0), 0u);
  ASSERT_TRUE(stream->Write(AskInfer("hi ")));
  ASSERT_TRUE(stream->Read(&message));
  EXPECT_EQ(OutputOf(message.infer_response(), "text_output"), "hi ok");
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

// More at once than the stream reads ahead, the refused among them; each gets its own answer.
TEST_F(KserveServiceTest, ManyRequestsShareAStream) {
  constexpr int kRequests = 600;
  engine_.SetScript(nullptr);  // Everybody gets the own prompt back.
  grpc::ClientContext context;
  const auto stream = kserve_stub_->ModelStreamInfer(&context);
  std::thread writer([&] {
    for (int i = 0; i < kRequests; ++i) {
      wire::ModelInferRequest request = AskInfer("prompt " + std::to_string(i));
      request.set_id(std::to_string(i));
      if (i % 3 == 0) request.set_model_name("other");
      AddInput("stream", true, &request);
      EXPECT_TRUE(stream->Write(request));
    }
    stream->WritesDone();
  });
  std::map<std::string, std::string> texts;
  int error_count = 0;
  for (wire::ModelStreamInferResponse message; stream->Read(&message);) {
    if (message.error_message().empty()) {
      texts[message.infer_response().id()] += OutputOf(message.infer_response(), "text_output");
    } else {
      ++error_count;
    }
  }
  writer.join();
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(error_count, kRequests / 3);
  EXPECT_EQ(texts.size(), static_cast<size_t>(kRequests - kRequests / 3));
  for (const auto& [id, text] : texts) EXPECT_EQ(text, "prompt " + id);
  EXPECT_TRUE(live_calls_.WaitUntilEmpty(absl::Seconds(30)));
}

TEST_F(KserveServiceTest, AClientThatLeavesCancelsAllOfItsRequests) {
  Answers("abcdef", Held(2));
  wire::ModelInferRequest request = AskInfer("hi");
  AddInput("stream", true, &request);
  {
    grpc::ClientContext context;
    const auto stream = kserve_stub_->ModelStreamInfer(&context);
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(stream->Write(request));
    wire::ModelStreamInferResponse message;
    ASSERT_TRUE(stream->Read(&message));
    ASSERT_TRUE(WaitUntil([&] { return engine_.requests().size() == 3; }));
    context.TryCancel();
    EXPECT_FALSE(stream->Finish().ok());
  }
  EXPECT_TRUE(WaitUntil([&] { return engine_.Load().finished_total == 3; }));
  EXPECT_EQ(engine_.cancel_count(), 3);
  EXPECT_TRUE(live_calls_.WaitUntilEmpty(absl::Seconds(30)));
}

TEST_F(KserveServiceTest, TellsWhatThereIs) {
  grpc::ClientContext live_context;
  wire::ServerLiveResponse live;
  ASSERT_TRUE(kserve_stub_->ServerLive(&live_context, {}, &live).ok());
  EXPECT_TRUE(live.live());
  const auto ready = [this] {
    grpc::ClientContext context;
    wire::ServerReadyResponse response;
    EXPECT_TRUE(kserve_stub_->ServerReady(&context, {}, &response).ok());
    return response.ready();
  };
  EXPECT_TRUE(ready());
  const auto model_ready = [this](const std::string& name, bool* is_ready) {
    grpc::ClientContext context;
    wire::ModelReadyRequest request;
    request.set_name(name);
    wire::ModelReadyResponse response;
    const grpc::Status status = kserve_stub_->ModelReady(&context, request, &response);
    *is_ready = response.ready();
    return status.error_code();
  };
  bool is_ready = false;
  EXPECT_EQ(model_ready("fake", &is_ready), grpc::StatusCode::OK);
  EXPECT_TRUE(is_ready);
  EXPECT_EQ(model_ready("other", &is_ready), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(model_ready("", &is_ready), grpc::StatusCode::OK);

  grpc::ClientContext server_context;
  wire::ServerMetadataResponse server;
  ASSERT_TRUE(kserve_stub_->ServerMetadata(&server_context, {}, &server).ok());
  EXPECT_EQ(server.version(), "test");
  grpc::ClientContext model_context;
  wire::ModelMetadataRequest request;
  wire::ModelMetadataResponse model;
  ASSERT_TRUE(kserve_stub_->ModelMetadata(&model_context, request, &model).ok());
  EXPECT_EQ(model.name(), "fake");
  EXPECT_EQ(model.inputs(0).name(), "text_input");
  EXPECT_EQ(model.outputs(0).name(), "text_output");
  EXPECT_EQ(model.versions(0), "1");

  progress_.SetDraining();
  EXPECT_FALSE(ready());
  EXPECT_EQ(model_ready("fake", &is_ready), grpc::StatusCode::OK);
  EXPECT_FALSE(is_ready);
}

}  // namespace
}  // namespace ebb::server
