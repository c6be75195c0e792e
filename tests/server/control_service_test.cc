#include "google/protobuf/descriptor.h"
#include "tests/server/service_fixture.h"

namespace ebb::server {
namespace {

TEST_F(ServiceTest, TellsAboutModelAndServer) {
  grpc::ClientContext model_context;
  v1::GetModelInfoResponse model;
  ASSERT_TRUE(control_stub_->GetModelInfo(&model_context, {}, &model).ok());
  EXPECT_EQ(model.name(), "fake");
  grpc::ClientContext server_context;
  v1::GetServerInfoResponse server;
  ASSERT_TRUE(control_stub_->GetServerInfo(&server_context, {}, &server).ok());
  EXPECT_EQ(server.version(), "test");
  EXPECT_EQ(server.config_hash(), "0123");
  EXPECT_EQ(server.state(), v1::SERVER_STATE_READY);
  EXPECT_GE(server.uptime_seconds(), 0);
  EXPECT_EQ(server.waiting_requests(), 0);
}

TEST_F(ServiceTest, ShowsMemory) {
  engine::MemoryView view;
  view.held_bytes = 10;
  view.needed_bytes = 20;
  view.cached_bytes = 30;
  view.limit_bytes = 40;
  view.page_bytes = 50;
  view.pages_mapped = 60;
  view.block_tokens = 70;
  view.moved_bytes_total = 80;
  view.flips_per_minute = 90;
  view.swap.used_bytes = 100;
  view.swap.bytes_max = 110;
  engine_.SetMemoryView(view);
  grpc::ClientContext context;
  v1::GetMemoryResponse memory;
  ASSERT_TRUE(control_stub_->GetMemory(&context, {}, &memory).ok());
  EXPECT_EQ(memory.held_bytes(), 10);
  EXPECT_EQ(memory.needed_bytes(), 20);
  EXPECT_EQ(memory.cached_bytes(), 30);
  EXPECT_EQ(memory.limit_bytes(), 40);
  EXPECT_EQ(memory.page_bytes(), 50);
  EXPECT_EQ(memory.pages_mapped(), 60);
  EXPECT_EQ(memory.block_tokens(), 70);
  EXPECT_EQ(memory.moved_bytes_total(), 80);
  EXPECT_EQ(memory.flips_per_minute(), 90);
  EXPECT_EQ(memory.swapped_bytes(), 100);
  EXPECT_EQ(memory.swap_limit_bytes(), 110);
}

TEST_F(ServiceTest, ShowsWindows) {
  engine::WindowView view;
  view.number = 9;
  view.age = absl::Milliseconds(1500);
  view.plan.queue = memory::WindowQueue::kPrefill;
  view.plan.reason = memory::WindowReason::kLimit;
  view.plan.length = absl::Milliseconds(250);
  view.plan.steps = 10;
  view.plan.sequences = 20;
  view.plan.static_blocks = 30;
  view.plan.dynamic_blocks = 40;
  view.plan.slack_blocks = 50;
  view.plan.demand_blocks = 120;
  view.plan.grant_blocks = 60;
  view.plan.pages_before = 70;
  view.plan.pages_after = 80;
  engine::WindowView other;
  other.plan.queue = memory::WindowQueue::kDecode;
  other.plan.reason = memory::WindowReason::kEmpty;
  engine_.SetWindows({view, other});
  grpc::ClientContext context;
  v1::GetWindowsResponse windows;
  ASSERT_TRUE(control_stub_->GetWindows(&context, {}, &windows).ok());
  ASSERT_EQ(windows.windows_size(), 2);
  const v1::Window& window = windows.windows(0);
  EXPECT_EQ(window.queue(), v1::Window::QUEUE_PREFILL);
  EXPECT_EQ(window.number(), 9);
  EXPECT_EQ(window.age_seconds(), 1.5);
  EXPECT_EQ(window.length_seconds(), 0.25);
  EXPECT_EQ(window.steps(), 10);
  EXPECT_EQ(window.sequences(), 20);
  EXPECT_EQ(window.static_blocks(), 30);
  EXPECT_EQ(window.dynamic_blocks(), 40);
  EXPECT_EQ(window.slack_blocks(), 50);
  EXPECT_EQ(window.demand_blocks(), 120);
  EXPECT_EQ(window.grant_blocks(), 60);
  EXPECT_EQ(window.pages_before(), 70);
  EXPECT_EQ(window.pages_after(), 80);
  EXPECT_EQ(window.reason(), v1::Window::REASON_LIMIT);
  EXPECT_EQ(windows.windows(1).queue(), v1::Window::QUEUE_DECODE);
  EXPECT_EQ(windows.windows(1).reason(), v1::Window::REASON_EMPTY);
}

TEST_F(ServiceTest, CountsTokens) {
  Answers("abc");
  v1::GenerateResponse answer;
  ASSERT_TRUE(Generate(Ask("12345"), &answer).ok());
  grpc::ClientContext context;
  v1::GetServerInfoResponse server;
  ASSERT_TRUE(control_stub_->GetServerInfo(&context, {}, &server).ok());
  EXPECT_EQ(server.prefilled_tokens_total(), answer.finished().usage().prompt_tokens());
  EXPECT_EQ(server.completion_tokens_total(), 3);
}

TEST_F(ServiceTest, SetsTheMemoryLimit) {
  const auto set = [this](absl::optional<int64_t> bytes, v1::SetMemoryLimitResponse* response) {
    grpc::ClientContext context;
    v1::SetMemoryLimitRequest request;
    if (bytes.has_value()) request.set_limit_bytes(*bytes);
    return control_stub_->SetMemoryLimit(&context, request, response).error_code();
  };
  v1::SetMemoryLimitResponse response;
  EXPECT_EQ(set(5000, &response), grpc::StatusCode::OK);
  EXPECT_EQ(response.outcome(), v1::SetMemoryLimitResponse::OUTCOME_APPLIED);
  EXPECT_EQ(response.limit_bytes(), 5000);
  engine_.SetLimitAnswer(engine::LimitAnswer{false, 6000, 9000, 3000});
  EXPECT_EQ(set(6000, &response), grpc::StatusCode::OK);
  EXPECT_EQ(response.outcome(), v1::SetMemoryLimitResponse::OUTCOME_DEFERRED);
  EXPECT_EQ(response.held_bytes(), 9000);
  EXPECT_EQ(response.deferred_bytes(), 3000);
  engine_.SetLimitAnswer(absl::DeadlineExceededError("no boundary came"));
  EXPECT_EQ(set(6000, &response), grpc::StatusCode::DEADLINE_EXCEEDED);
  for (const int64_t bad : {int64_t{-1}, int64_t{1'000'001}, int64_t{1} << 62}) {
    EXPECT_EQ(set(bad, &response), grpc::StatusCode::INVALID_ARGUMENT) << bad;
  }
  EXPECT_EQ(set(absl::nullopt, &response), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ServiceTest, PassesDeadlineForceAndRevisionOnAndTellsWhatWasDone) {
  engine::LimitAnswer done{false, 6000, 9000, 3000};
  done.revision = 12;
  done.stale = true;
  done.first_needs_bytes = 8000;
  done.preempted_count = 2;
  done.ended_count = 1;
  done.pages_unmapped = 5;
  done.held_before_bytes = 20'000;
  done.took = absl::Microseconds(2500);
  engine_.SetLimitAnswer(done);
  v1::SetMemoryLimitRequest request;
  request.set_limit_bytes(6000);
  request.set_deadline_ms(100);
  request.set_force(true);
  request.set_revision(12);
  v1::SetMemoryLimitResponse response;
  const auto call = [&] {
    grpc::ClientContext context;
    return control_stub_->SetMemoryLimit(&context, request, &response).error_code();
  };
  ASSERT_EQ(call(), grpc::StatusCode::OK);
  EXPECT_EQ(engine_.last_limit_change().bytes, 6000);
  EXPECT_EQ(engine_.last_limit_change().deadline, absl::Milliseconds(100));
  EXPECT_TRUE(engine_.last_limit_change().force);
  EXPECT_EQ(engine_.last_limit_change().revision, 12u);
  EXPECT_TRUE(response.stale());
  EXPECT_EQ(response.revision(), 12u);
  EXPECT_EQ(response.first_needs_bytes(), 8000);
  EXPECT_EQ(response.preempted_sequences(), 2);
  EXPECT_EQ(response.ended_requests(), 1);
  EXPECT_EQ(response.pages_unmapped(), 5);
  EXPECT_EQ(response.held_before_bytes(), 20'000);
  EXPECT_EQ(response.took_ms(), 2.5);
  request.clear_deadline_ms();
  ASSERT_EQ(call(), grpc::StatusCode::OK);
  EXPECT_EQ(engine_.last_limit_change().deadline, absl::Seconds(1)) << "the server's own";
  for (const int64_t bad : {int64_t{-1}, int64_t{86'400'001}}) {
    request.set_deadline_ms(bad);
    EXPECT_EQ(call(), grpc::StatusCode::INVALID_ARGUMENT) << bad;
  }
}

TEST_F(ServiceTest, DrainsByCall) {
  const auto drain = [this](absl::optional<int64_t> grace_ms) {
    grpc::ClientContext context;
    v1::DrainRequest request;
    if (grace_ms.has_value()) request.set_grace_ms(*grace_ms);
    v1::DrainResponse response;
    return control_stub_->Drain(&context, request, &response).error_code();
  };
  EXPECT_EQ(drain(-1), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(drain(86'400'001), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(drain(absl::nullopt), grpc::StatusCode::OK);
  EXPECT_EQ(drain(0), grpc::StatusCode::OK);
  base::MutexLock lock(&mutex_);
  EXPECT_EQ(drain_graces_, (std::vector<absl::Duration>{absl::Seconds(3), absl::ZeroDuration()}));
}

TEST_F(ServiceTest, HealthAnswers) {
  const auto health = grpc::health::v1::Health::NewStub(channel_);
  const auto check = [&](const std::string& service) {
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    grpc::health::v1::HealthCheckResponse response;
    const grpc::Status status = health->Check(&context, request, &response);
    return status.ok() ? static_cast<int>(response.status())
                       : -static_cast<int>(status.error_code());
  };
  EXPECT_EQ(check(""), grpc::health::v1::HealthCheckResponse::SERVING);
  EXPECT_EQ(check("ebb.v1.Inference"), grpc::health::v1::HealthCheckResponse::SERVING);
  EXPECT_EQ(check("ebb.v1.Control"), grpc::health::v1::HealthCheckResponse::SERVING);
  EXPECT_EQ(check("nothing"), -static_cast<int>(grpc::StatusCode::NOT_FOUND));
  server_->SetServing(false);
  EXPECT_EQ(check(""), grpc::health::v1::HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(check("ebb.v1.Inference"), grpc::health::v1::HealthCheckResponse::NOT_SERVING);
}

}  // namespace
}  // namespace ebb::server
