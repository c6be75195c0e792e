// Serving as a whole, over a fake engine: how it ends, and what it says of its health.
#include "server/serving.h"

#include <sys/stat.h>

#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "engine/engine_fake.h"
#include "gtest/gtest.h"
#include "proto/ebb.grpc.pb.h"
#include "proto/health.grpc.pb.h"
#include "server/drain.h"
#include "tests/server/http/http_client.h"
#include "tests/server/keep_log.h"
#include "tests/server/socket_directory.h"
#include "tests/server/wait_until.h"

namespace ebb::server {
namespace {

using HealthStatus = grpc::health::v1::HealthCheckResponse;

// A model without weights, whose tokens are two letters.
LoadedModel NewModel(const base::Clock* clock) {
  model::TokenizerData data;
  data.source = "test";
  data.model = "gpt2";
  data.pre = "gpt2";
  data.tokens = {"a", "b", "</s>"};
  data.token_types = {1, 1, 3};
  data.eos_id = 2;
  auto tokenizer = model::Tokenizer::Create(data);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  LoadedModel model;
  model.name = "letters";
  model.config.context_tokens = 1000;
  model.config.vocab = 3;
  model.codec = std::make_unique<ModelTextCodec>(*std::move(tokenizer),
                                                 absl::FailedPreconditionError("none"), clock);
  return model;
}

class ServingTest : public testing::Test {
 protected:
  explicit ServingTest(const std::string& control_listen = "", const Guards& guards = {})
      : model_(NewModel(&clock_)) {
    config::ServerConfig config;
    config.server.listen = "127.0.0.1:0";
    config.server.stall = absl::Minutes(1);
    config.log.stats = absl::Milliseconds(1);
    config.server.control_listen = control_listen;
    serving_ = *Serving::Start(config, model_, &engine_, &drain_, &clock_, &log_, guards);
    channel_ =
        grpc::CreateChannel(serving_->address().ToString(), grpc::InsecureChannelCredentials());
    stub_ = v1::Inference::NewStub(channel_);
    health_stub_ = grpc::health::v1::Health::NewStub(channel_);
    runner_ = std::thread([this] { serving_->RunUntilDrained(); });
  }
  ~ServingTest() override {
    drain_.Request(absl::ZeroDuration());
    runner_.join();
  }

  grpc::Status Generate() {
    v1::GenerateRequest request;
    request.set_text("ab");
    v1::GenerateResponse response;
    grpc::ClientContext context;
    return stub_->Generate(&context, request, &response);
  }

  tests::HttpAnswer Get(const std::string& path) const {
    return tests::HttpClient(serving_->http_address()).Get(path);
  }

  const LoadedModel model_;
  engine::FakeEngine engine_;
  DrainSwitch drain_;
  base::RealClock clock_;
  KeepLog log_;
  std::unique_ptr<Serving> serving_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Inference::Stub> stub_;
  std::unique_ptr<grpc::health::v1::Health::Stub> health_stub_;
  std::thread runner_;
};

TEST_F(ServingTest, ALostDeviceEndsTheServerByItself) {
  engine_.SetScript([](const engine::Request&) {
    engine::FakeEngine::Script script;
    script.tokens = {0, 1, 0};
    script.hold_after = 1;  // Until the device goes.
    return script;
  });
  grpc::ClientContext watching;
  const auto watch = health_stub_->Watch(&watching, {});
  HealthStatus health;
  ASSERT_TRUE(watch->Read(&health));
  EXPECT_EQ(health.status(), HealthStatus::SERVING);
  // One runs, one waits behind it.
  grpc::Status ends[2];
  std::thread clients[2];
  for (int i = 0; i < 2; ++i) {
    clients[i] = std::thread([this, &ends, i] { ends[i] = Generate(); });
  }
  ASSERT_TRUE(tests::WaitUntil([&] { return engine_.requests().size() == 2; }));

  engine_.LoseDevice("illegal address");
  ASSERT_TRUE(watch->Read(&health));
  EXPECT_EQ(health.status(), HealthStatus::NOT_SERVING);
  for (int i = 0; i < 2; ++i) {
    clients[i].join();
    EXPECT_EQ(ends[i].error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_EQ(ends[i].error_message(), "the server lost its device and is ending; ask another one");
  }
  // RunUntilDrained returns although nobody asked for a drain, and the watch ends.
  while (watch->Read(&health)) {
  }
  EXPECT_EQ(log_.Of("draining").size(), 1u);
  EXPECT_EQ(log_.Of("draining")[0].at("grace_seconds"), 0);
  EXPECT_FALSE(engine_.Health().ok());
}

// A loss during a drain that would wait hurries it.
TEST_F(ServingTest, ALossHurriesADrain) {
  engine_.SetScript([](const engine::Request&) {
    engine::FakeEngine::Script script;
    script.tokens = {0, 1, 0};
    script.hold_after = 1;
    return script;
  });
  grpc::Status end;
  std::thread client([&] { end = Generate(); });
  ASSERT_TRUE(tests::WaitUntil([&] { return engine_.requests().size() == 1; }));
  drain_.Request(absl::Hours(1));
  ASSERT_TRUE(tests::WaitUntil([&] { return log_.Of("draining").size() == 1; }));
  engine_.LoseDevice("gone");
  client.join();
  EXPECT_EQ(end.error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(ServingTest, AStalledEngineIsNotReadyUntilItGoesOn) {
  grpc::ClientContext watching;
  const auto watch = health_stub_->Watch(&watching, {});
  HealthStatus health;
  ASSERT_TRUE(watch->Read(&health));
  EXPECT_EQ(health.status(), HealthStatus::SERVING);
  EXPECT_EQ(Get("/health/ready").status, 200);

  engine_.SetLastStepAge(absl::Seconds(61));
  ASSERT_TRUE(watch->Read(&health));
  EXPECT_EQ(health.status(), HealthStatus::NOT_SERVING);
  const tests::HttpAnswer ready = Get("/health/ready");
  EXPECT_EQ(ready.status, 503);
  EXPECT_NE(ready.body.find("no step"), std::string::npos) << ready.body;
  EXPECT_EQ(Get("/health/live").status, 200);
  EXPECT_NE(Get("/metrics").body.find("ebb_health{state=\"stalled\"} 1\n"), std::string::npos);

  engine_.SetLastStepAge(absl::ZeroDuration());
  ASSERT_TRUE(watch->Read(&health));
  EXPECT_EQ(health.status(), HealthStatus::SERVING);
  EXPECT_EQ(Get("/health/ready").status, 200);
  ASSERT_TRUE(tests::WaitUntil([&] { return log_.Of("health").size() == 2; }));
  EXPECT_EQ(log_.Of("health")[0].at("state"), "stalled");
  EXPECT_EQ(log_.Of("health")[1].at("state"), "ready");
  watching.TryCancel();
}

TEST_F(ServingTest, RequestsAreTakenWhileADrainIsDelayed) {
  grpc::ClientContext watching;
  const auto watch = health_stub_->Watch(&watching, {});
  HealthStatus health;
  ASSERT_TRUE(watch->Read(&health));
  drain_.Request(absl::Seconds(30), absl::Hours(1));
  ASSERT_TRUE(watch->Read(&health));
  EXPECT_EQ(health.status(), HealthStatus::NOT_SERVING);
  EXPECT_EQ(Get("/health/ready").status, 503);
  EXPECT_TRUE(Generate().ok());
  EXPECT_TRUE(log_.Of("draining").empty());
  ASSERT_EQ(log_.Of("not_ready").size(), 1u);
  EXPECT_EQ(log_.Of("not_ready")[0].at("delay_seconds"), 3600);
  drain_.Request(absl::Seconds(30));
  ASSERT_TRUE(tests::WaitUntil([&] { return log_.Of("draining").size() == 1; }));
  EXPECT_EQ(log_.Of("draining")[0].at("grace_seconds"), 30);
  EXPECT_FALSE(Generate().ok());
  watching.TryCancel();
}

TEST_F(ServingTest, TheStatsLineComes) {
  EXPECT_TRUE(Generate().ok());
  EXPECT_TRUE(tests::WaitUntil([&] { return !log_.Of("stats").empty(); }));
}

// ---- Control at an address of its own

struct ControlSocket {
  const tests::SocketDirectory directory;
  const std::string address = "unix:" + directory.Path("control");
};

class ControlApartTest : private ControlSocket, public ServingTest {
 protected:
  ControlApartTest()
      : ServingTest(address),
        control_channel_(grpc::CreateChannel(serving_->control_address().ToString(),
                                             grpc::InsecureChannelCredentials())) {}

  static grpc::Status AskMemory(const std::shared_ptr<grpc::Channel>& channel) {
    grpc::ClientContext context;
    v1::GetMemoryResponse memory;
    return v1::Control::NewStub(channel)->GetMemory(&context, {}, &memory);
  }
  static HealthStatus::ServingStatus HealthOf(const std::shared_ptr<grpc::Channel>& channel) {
    grpc::ClientContext context;
    HealthStatus health;
    EXPECT_TRUE(grpc::health::v1::Health::NewStub(channel)->Check(&context, {}, &health).ok());
    return health.status();
  }

  const std::shared_ptr<grpc::Channel> control_channel_;
};

TEST_F(ControlApartTest, IsServedThereAndNowhereElse) {
  const grpc::Status there = AskMemory(control_channel_);
  EXPECT_TRUE(there.ok()) << there.error_message();
  EXPECT_EQ(AskMemory(channel_).error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(HealthOf(control_channel_), HealthStatus::SERVING);
  EXPECT_EQ(HealthOf(channel_), HealthStatus::SERVING);
  const grpc::Status generated = Generate();
  EXPECT_TRUE(generated.ok()) << generated.error_message();
  stub_ = v1::Inference::NewStub(control_channel_);
  EXPECT_EQ(Generate().error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(ControlApartTest, DrainEndsBoth) {
  grpc::ClientContext watching;
  const auto watch = grpc::health::v1::Health::NewStub(control_channel_)->Watch(&watching, {});
  HealthStatus health;
  ASSERT_TRUE(watch->Read(&health));
  grpc::ClientContext context;
  v1::DrainRequest drain;
  drain.set_grace_ms(0);
  v1::DrainResponse answer;
  EXPECT_TRUE(v1::Control::NewStub(control_channel_)->Drain(&context, drain, &answer).ok());
  ASSERT_TRUE(watch->Read(&health));
  EXPECT_EQ(health.status(), HealthStatus::NOT_SERVING);
  while (watch->Read(&health)) {
  }
}

// ---- Operators' tokens, at either address

constexpr char kAnna[] = "anna-token-0123456789";
constexpr char kOlga[] = "olga-token-0123456789";

struct TwoGates {
  std::unique_ptr<AccessGate> Open(TokenHolders holders, const std::string& tokens) {
    const std::string path = directory.Path(std::string(TokensSetting(holders)));
    std::ofstream(path) << tokens << "\n";
    EXPECT_EQ(chmod(path.c_str(), 0600), 0);
    return *AccessGate::Open(holders, path, &gate_clock, &gate_log);
  }
  const tests::SocketDirectory directory;
  const base::RealClock gate_clock;
  KeepLog gate_log;
  const std::unique_ptr<AccessGate> users =
      Open(TokenHolders::kUsers, std::string("anna ") + kAnna);
  const std::unique_ptr<AccessGate> operators =
      Open(TokenHolders::kOperators, std::string("olga ") + kOlga);
};

// The parameter is server.control_listen.
class OperatorsTest : private TwoGates,
                      public ServingTest,
                      public testing::WithParamInterface<const char*> {
 protected:
  OperatorsTest() : ServingTest(GetParam(), {users.get(), operators.get()}) {}

  static void Bring(const std::string& token, grpc::ClientContext* context) {
    if (!token.empty()) context->AddMetadata("authorization", "Bearer " + token);
  }
  grpc::StatusCode AskMemory(const std::string& token) const {
    const auto stub = v1::Control::NewStub(grpc::CreateChannel(
        serving_->control_address().ToString(), grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    Bring(token, &context);
    v1::GetMemoryResponse memory;
    return stub->GetMemory(&context, {}, &memory).error_code();
  }
  grpc::StatusCode Tokenize(const std::string& token) const {
    grpc::ClientContext context;
    Bring(token, &context);
    v1::TokenizeRequest request;
    request.set_text("ab");
    v1::TokenizeResponse response;
    return stub_->Tokenize(&context, request, &response).error_code();
  }
};

TEST_P(OperatorsTest, EachTokenOpensItsOwnServices) {
  EXPECT_EQ(AskMemory(kOlga), grpc::StatusCode::OK);
  EXPECT_EQ(AskMemory(kAnna), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(AskMemory(""), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(Tokenize(kAnna), grpc::StatusCode::OK);
  EXPECT_EQ(Tokenize(kOlga), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(Tokenize(""), grpc::StatusCode::UNAUTHENTICATED);
}

INSTANTIATE_TEST_SUITE_P(WithTheRestAndApart, OperatorsTest, testing::Values("", "127.0.0.1:0"));

}  // namespace
}  // namespace ebb::server
