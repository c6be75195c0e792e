// Quotas where requests pass: every contract on gRPC is counted by the one door, and what a client
// used is charged however its request ends.
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock_fake.h"
#include "tests/server/gateway_fixture.h"

namespace ebb::server {
namespace {

using tests::WaitUntil;

// Before the fixture, so that calls end first.
struct QuotasOnAFakeClock {
  base::FakeClock quota_clock;
  RequestMetrics quota_metrics;
  std::unique_ptr<Quotas> quotas;
};

// How a call was refused; an empty code where it was not.
struct Refused {
  grpc::StatusCode code = grpc::StatusCode::OK;
  std::string retry_after;  // The trailer.
};

class QuotaCallsTest : protected QuotasOnAFakeClock, public GatewayTest {
 protected:
  void Use(const QuotaLimits& limits) {
    quotas = std::make_unique<Quotas>(limits, &quota_clock, &quota_metrics);
    resources_.quotas = quotas.get();
  }
  static Refused RefusedBy(const grpc::Status& status, const grpc::ClientContext& context) {
    const auto& trailers = context.GetServerTrailingMetadata();
    const auto it = trailers.find("retry-after");
    return {status.error_code(),
            it == trailers.end() ? "" : std::string(it->second.data(), it->second.size())};
  }

  Refused AskWhole() {
    grpc::ClientContext context;
    v1::GenerateResponse response;
    return RefusedBy(stub_->Generate(&context, Ask("hi"), &response), context);
  }
  Refused AskStream() {
    grpc::ClientContext context;
    const auto stream = stub_->GenerateStream(&context, Ask("hi"));
    for (v1::GenerateStreamResponse message; stream->Read(&message);) {
    }
    return RefusedBy(stream->Finish(), context);
  }
  Refused AskVllm() {
    grpc::ClientContext context;
    ::vllm::grpc::engine::GenerateRequest request;
    request.mutable_tokenized()->add_input_ids('h');
    const auto stream = vllm_stub_->Generate(&context, request);
    for (::vllm::grpc::engine::GenerateResponse message; stream->Read(&message);) {
    }
    return RefusedBy(stream->Finish(), context);
  }
  Refused AskKserve() {
    grpc::ClientContext context;
    ::inference::ModelInferResponse response;
    return RefusedBy(kserve_stub_->ModelInfer(&context, InferRequest(), &response), context);
  }
  // The error of a request on a stream of KServe's, which says when in words.
  std::string AskKserveStream() {
    grpc::ClientContext context;
    const auto stream = kserve_stub_->ModelStreamInfer(&context);
    EXPECT_TRUE(stream->Write(InferRequest()));
    ::inference::ModelStreamInferResponse message;
    EXPECT_TRUE(stream->Read(&message));
    stream->WritesDone();
    EXPECT_TRUE(stream->Finish().ok());
    return message.error_message();
  }
  std::vector<std::function<Refused()>> Kinds() {
    return {[this] { return AskWhole(); }, [this] { return AskStream(); },
            [this] { return AskVllm(); }, [this] { return AskKserve(); }};
  }
};

TEST_F(QuotaCallsTest, EveryContractIsCountedTogether) {
  Use({5, 0, 0});
  Answers("yes");
  for (const auto& ask : Kinds()) EXPECT_EQ(ask().code, grpc::StatusCode::OK);
  EXPECT_EQ(AskKserveStream(), "");
  for (const auto& ask : Kinds()) {
    const Refused refused = ask();
    EXPECT_EQ(refused.code, grpc::StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_EQ(refused.retry_after, "12");
  }
  EXPECT_EQ(AskKserveStream(),
            "RESOURCE_EXHAUSTED: this token's quota of 5 requests a minute is used up; try again "
            "in 12 s");
  EXPECT_EQ(engine_.requests().size(), 5u);
  quota_clock.Advance(absl::Seconds(12));
  EXPECT_EQ(AskVllm().code, grpc::StatusCode::OK);
  EXPECT_EQ(AskWhole().code, grpc::StatusCode::RESOURCE_EXHAUSTED);
}

// Two tokens of the prompt and three of the answer: of six a minute one is left, of five none.
TEST_F(QuotaCallsTest, WhatWasMadeIsChargedWhenTheClientLeaves) {
  int64_t ended = 0;
  for (const int64_t per_minute : {5, 6}) {
    Use({0, per_minute, 0});
    Answers("abcdef", Held(3));
    grpc::ClientContext context;
    const auto stream = stub_->GenerateStream(&context, Ask("hi"));
    std::string text;
    v1::GenerateStreamResponse message;
    while (text.size() < 3 && stream->Read(&message)) text += message.delta().text();
    EXPECT_EQ(text, "abc");
    context.TryCancel();
    while (stream->Read(&message)) {
    }
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
    ++ended;
    ASSERT_TRUE(WaitUntil([&] { return engine_.Load().finished_total == ended; }));
    Answers("");
    const Refused next = AskWhole();
    if (per_minute == 6) {
      EXPECT_EQ(next.code, grpc::StatusCode::OK);
      ++ended;
    } else {
      EXPECT_EQ(next.code, grpc::StatusCode::RESOURCE_EXHAUSTED);
      EXPECT_EQ(next.retry_after, "12");
    }
  }
}

// All answers of a request are charged, and its prompt once.
TEST_F(QuotaCallsTest, WhatWasAnsweredIsCharged) {
  for (const int64_t per_minute : {8, 9}) {
    Use({0, per_minute, 0});
    Answers("yes");
    v1::GenerateRequest request = Ask("hi");
    request.mutable_output()->set_n(2);
    v1::GenerateResponse response;
    ASSERT_TRUE(Generate(request, &response).ok());
    EXPECT_EQ(response.finished().usage().prompt_tokens(), 2);
    EXPECT_EQ(response.finished().usage().completion_tokens(), 6);
    EXPECT_EQ(AskWhole().code,
              per_minute == 8 ? grpc::StatusCode::RESOURCE_EXHAUSTED : grpc::StatusCode::OK);
  }
}

TEST_F(QuotaCallsTest, ARefusedRequestCostsNothing) {
  Use({1, 100, 1});
  v1::GenerateResponse response;
  v1::GenerateRequest bad = Ask(std::string(1000, 'a'));
  bad.mutable_stopping()->set_max_tokens(0);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Generate(bad, &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
  engine_.SetSubmitStatus(absl::ResourceExhaustedError("the queue is full"));
  for (int i = 0; i < 3; ++i) {
    const grpc::Status full = Generate(Ask(std::string(1000, 'a')), &response);
    EXPECT_EQ(full.error_message(), "the queue is full");
  }
  engine_.SetSubmitStatus(absl::OkStatus());
  EXPECT_EQ(AskWhole().code, grpc::StatusCode::OK);
  EXPECT_EQ(AskWhole().code, grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(QuotaCallsTest, APlaceIsFreeAsSoonAsTheClientHasItsAnswer) {
  Use({0, 0, 1});
  Answers("abcdef", Held(2));
  grpc::ClientContext context;
  const auto stream = stub_->GenerateStream(&context, Ask("hi"));
  v1::GenerateStreamResponse message;
  ASSERT_TRUE(stream->Read(&message));
  for (const auto& ask : Kinds()) EXPECT_EQ(ask().code, grpc::StatusCode::RESOURCE_EXHAUSTED);
  engine_.ReleaseHeld();
  while (stream->Read(&message)) {
  }
  EXPECT_TRUE(stream->Finish().ok());
  // One after the other, without a pause.
  for (int round = 0; round < 20; ++round) {
    for (const auto& ask : Kinds()) ASSERT_EQ(ask().code, grpc::StatusCode::OK) << round;
    ASSERT_EQ(AskKserveStream(), "");
  }
}

}  // namespace
}  // namespace ebb::server
