// What clients are told when the fault is ours: fixed words and the request's id, the same by every
// interface, and nothing of what a driver or the system said, which is in the log.
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "device/device_lost.h"
#include "server/client_text.h"
#include "server/http/http_api.h"
#include "server/http/http_server.h"
#include "tests/server/gateway_fixture.h"
#include "tests/server/http/http_client.h"

namespace ebb::server {
namespace {

using engine::FakeEngine;

constexpr char kSecret[] =
    "the step failed: cudaMemcpyAsync: illegal address 0x7f5c00001000 (/srv/models/private.gguf)";
constexpr char kFailed[] =
    "the server failed to compute this request; its log has the reason under request_id my-request";
constexpr char kRefused[] = "the server failed to compute this; its log has the reason";
constexpr char kLost[] = "the server lost its device and is ending; ask another one";

// What one front told of one request.
struct Told {
  std::string front;
  std::string code;
  std::string text;
};

class OurFaultTest : public GatewayTest {
 protected:
  OurFaultTest() {
    HttpModelInfo model;
    model.name = "fake";
    model.context_tokens = kContextTokens;
    api_ = std::make_unique<HttpApi>(&resources_, &metrics_, model, "test");
    HttpServerOptions options;
    options.listen = *ParseListenAddress("127.0.0.1:0");
    http_server_ = *HttpServer::Start(options, api_.get());
  }

  tests::HttpAnswer Post(const std::string& path, const std::string& body) {
    return tests::HttpClient(http_server_->address().ToString())
        .Post(path, body, "x-request-id: my-request\r\n");
  }
  Told Grpc(const std::string& front, const grpc::Status& status) {
    return {front, absl::StatusCodeToString(static_cast<absl::StatusCode>(status.error_code())),
            status.error_message()};
  }
  Told AskWhole() {
    v1::GenerateRequest request = Ask("hi");
    request.set_request_id("my-request");
    v1::GenerateResponse response;
    return Grpc("gRPC", Generate(request, &response));
  }
  Told AskStream() {
    v1::GenerateRequest request = Ask("hi");
    request.set_request_id("my-request");
    grpc::ClientContext context;
    const auto stream = stub_->GenerateStream(&context, request);
    for (v1::GenerateStreamResponse message; stream->Read(&message);) {
    }
    return Grpc("gRPC, streamed", stream->Finish());
  }
  Told AskVllm(bool streamed) {
    ::vllm::grpc::engine::GenerateRequest request;
    request.set_request_id("my-request");
    request.mutable_tokenized()->add_input_ids('h');
    request.set_stream(streamed);
    grpc::ClientContext context;
    const auto stream = vllm_stub_->Generate(&context, request);
    for (::vllm::grpc::engine::GenerateResponse message; stream->Read(&message);) {
    }
    return Grpc(streamed ? "vLLM, streamed" : "vLLM", stream->Finish());
  }
  static ::inference::ModelInferRequest NamedInferRequest() {
    ::inference::ModelInferRequest request = InferRequest();
    request.set_id("my-request");
    return request;
  }
  Told AskKserve() {
    ::inference::ModelInferResponse response;
    grpc::ClientContext context;
    return Grpc("KServe", kserve_stub_->ModelInfer(&context, NamedInferRequest(), &response));
  }
  // Its errors begin with the code.
  Told AskKserveStream() {
    grpc::ClientContext context;
    const auto stream = kserve_stub_->ModelStreamInfer(&context);
    EXPECT_TRUE(stream->Write(NamedInferRequest()));
    stream->WritesDone();
    std::string text;
    for (::inference::ModelStreamInferResponse message; stream->Read(&message);) {
      text = message.error_message();
    }
    EXPECT_TRUE(stream->Finish().ok());
    const size_t colon = text.find(": ");
    if (colon == std::string::npos) return {"KServe, streamed", "", text};
    return {"KServe, streamed", text.substr(0, colon), text.substr(colon + 2)};
  }
  Told Http(const std::string& front, const tests::HttpAnswer& answer, const std::string& json) {
    const nlohmann::json error = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
    if (!error.contains("error")) return {front, "", json};
    EXPECT_EQ(answer.Header("x-request-id"), "my-request");
    return {front, absl::AsciiStrToUpper(error["error"].value("code", "")),
            error["error"].value("message", "")};
  }
  Told AskHttp() {
    const tests::HttpAnswer answer = Post("/v1/completions", R"({"prompt":"hi","max_tokens":9})");
    return Http("HTTP", answer, answer.body);
  }
  Told AskHttpStream() {
    const tests::HttpAnswer answer =
        Post("/v1/completions", R"({"prompt":"hi","max_tokens":9,"stream":true})");
    // Before the first token an error is an answer of its own, then an event.
    return Http("HTTP, streamed", answer,
                answer.status == 200 ? answer.Events().back() : answer.body);
  }
  std::vector<Told> AskAll() {
    std::vector<Told> all = {AskWhole(),  AskStream(), AskVllm(false),  AskVllm(true),
                             AskKserve(), AskHttp(),   AskHttpStream(), AskKserveStream()};
    return all;
  }

  const Metrics metrics_{
      {"test", "0123", "fake", "none"}, &engine_, &request_metrics_, &refusals_, &progress_};
  std::unique_ptr<HttpApi> api_;
  std::unique_ptr<HttpServer> http_server_;  // Last: it is the first to go.
};

TEST_F(OurFaultTest, AFailedStepIsToldInFixedWordsByEveryFront) {
  FakeEngine::Script script;
  script.reason = engine::FinishReason::kError;
  script.status = absl::InternalError(kSecret);
  for (const std::string answer : {"", "abc"}) {  // Before the first token, and after some.
    Answers(answer, script);
    for (const Told& told : AskAll()) {
      EXPECT_EQ(told.code, "INTERNAL") << told.front;
      // KServe's own id names no request of ours, and one is made.
      if (told.front.rfind("KServe", 0) == 0) {
        EXPECT_EQ(told.text.rfind("the server failed to compute this request; its log has the "
                                  "reason under request_id ebb-",
                                  0),
                  0u)
            << told.front << ": " << told.text;
      } else {
        EXPECT_EQ(told.text, kFailed) << told.front;
      }
      EXPECT_EQ(told.text.find("cuda"), std::string::npos) << told.front;
    }
  }
}

// By HTTP the id is known all the same.
TEST_F(OurFaultTest, AnEngineThatCannotTakeARequestTellsTheLogWhy) {
  engine_.SetSubmitStatus(absl::InternalError(kSecret));
  const std::vector<Told> all = AskAll();
  for (const Told& told : all) {
    EXPECT_EQ(told.code, "INTERNAL") << told.front;
    EXPECT_TRUE(told.text == kRefused || told.text.rfind(kFailed, 0) == 0 ||
                told.text.find("under request_id ebb-") != std::string::npos)
        << told.front << ": " << told.text;
    EXPECT_EQ(told.text.find("cuda"), std::string::npos) << told.front;
  }
  // A line for each, within one second.
  const std::vector<nlohmann::ordered_json> lines = log_.Of("request_refused");
  ASSERT_EQ(lines.size(), all.size());
  size_t named = 0;
  for (const nlohmann::ordered_json& line : lines) {
    EXPECT_EQ(line.at("reason"), kSecret);
    if (line.at("label") == "my-request") ++named;
  }
  EXPECT_EQ(named, all.size() - 2);  // KServe's two have ids that were made.
}

TEST_F(OurFaultTest, ALostDeviceIsToldInFixedWordsByEveryFront) {
  engine_.LoseDevice("cudaErrorIllegalAddress at 0x7f5c00001000");
  for (const Told& told : AskAll()) {
    EXPECT_EQ(told.code, "UNAVAILABLE") << told.front;
    EXPECT_EQ(told.text, kLost) << told.front;
  }
  // So does health, which anybody may ask where there are no tokens.
  progress_.Poll();
  const tests::HttpAnswer ready =
      tests::HttpClient(http_server_->address().ToString()).Get("/health/ready");
  EXPECT_EQ(ready.status, 503);
  EXPECT_EQ(ready.Json()["error"]["message"], kLost);
  grpc::ClientContext context;
  ::vllm::grpc::engine::HealthCheckResponse health;
  ASSERT_TRUE(vllm_stub_->HealthCheck(&context, {}, &health).ok());
  EXPECT_FALSE(health.healthy());
  EXPECT_EQ(health.message(), kLost);
}

// What is no request of the engine's goes the same way out.
TEST_F(OurFaultTest, AFailedTokenizerIsToldInFixedWords) {
  archive_ = absl::InternalError(kSecret);
  grpc::ClientContext context;
  const auto stream = vllm_stub_->GetTokenizer(&context, {});
  ::vllm::grpc::engine::GetTokenizerChunk chunk;
  EXPECT_FALSE(stream->Read(&chunk));
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_EQ(status.error_message(), kRefused);
}

TEST(ClientTextTest, OnlyOurFaultsAndLostDevicesAreReplaced) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), "why");
    const bool ours = status.code() == absl::StatusCode::kInternal ||
                      status.code() == absl::StatusCode::kUnknown ||
                      status.code() == absl::StatusCode::kDataLoss;
    EXPECT_EQ(IsOurFault(status), ours) << status;
    EXPECT_EQ(ClientText(status) == "why", !ours) << status;
  }
  EXPECT_EQ(ClientText(absl::InternalError(kSecret), "my-request"), kFailed);
  EXPECT_EQ(ClientText(device::DeviceLostError(kSecret), "my-request"), kLost);
}

}  // namespace
}  // namespace ebb::server
