#include <atomic>
#include <chrono>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "base/rng.h"
#include "grpcpp/generic/generic_stub.h"
#include "tests/server/service_fixture.h"
#include "tests/server/test_seed.h"

namespace ebb::server {
namespace {

using engine::FakeEngine;
using engine::FinishReason;
using tests::WaitUntil;

TEST_F(ServiceTest, AnswersWhole) {
  FakeEngine::Script script;
  script.stop_token_id = FakeTextCodec::kEnd;
  Answers("hello", script);
  v1::GenerateRequest request = Ask("hi");
  request.mutable_output()->set_return_token_ids(true);
  request.mutable_output()->set_return_prompt_token_ids(true);
  v1::GenerateResponse response;
  const grpc::Status status = Generate(request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.text(), "hello");
  EXPECT_EQ(response.token_ids_size(), 5);
  ASSERT_EQ(response.prompt_token_ids_size(), 2);
  EXPECT_EQ(response.prompt_token_ids(1), 'i');
  EXPECT_EQ(response.finished().finish_reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(response.finished().stop_token_id(), FakeTextCodec::kEnd);
  EXPECT_EQ(response.finished().usage().prompt_tokens(), 2);
  EXPECT_EQ(response.finished().usage().completion_tokens(), 5);
  EXPECT_FALSE(response.request_id().empty());
}

TEST_F(ServiceTest, LengthAndDefaultSeedsDiffer) {
  Answers("hello");
  v1::GenerateRequest request = Ask("hi");
  request.mutable_stopping()->set_max_tokens(3);
  v1::GenerateResponse response;
  ASSERT_TRUE(Generate(request, &response).ok());
  EXPECT_EQ(response.text(), "hel");
  EXPECT_EQ(response.finished().finish_reason(), v1::FINISH_REASON_LENGTH);
  ASSERT_TRUE(Generate(request, &response).ok());
  const std::vector<engine::Request> seen = engine_.requests();
  EXPECT_NE(seen[0].sampling.seed, seen[1].sampling.seed);
  EXPECT_NE(seen[0].label, seen[1].label);
}

TEST_F(ServiceTest, StreamsInOrder) {
  FakeEngine::Script script;
  script.prompt_logprobs = {{105, -2.0f, {}}};
  Answers("h\xC3\xA9llo", script);
  v1::GenerateRequest request = Ask("hi");
  request.set_request_id("mine");
  request.mutable_output()->set_logprobs(1);
  request.mutable_output()->set_prompt_logprobs(0);
  request.mutable_output()->set_return_token_ids(true);
  request.mutable_output()->set_echo(true);
  grpc::ClientContext context;
  const auto stream = stub_->GenerateStream(&context, request);
  std::vector<v1::GenerateStreamResponse> messages;
  for (v1::GenerateStreamResponse message; stream->Read(&message);) messages.push_back(message);
  ASSERT_TRUE(stream->Finish().ok());
  ASSERT_GE(messages.size(), 4u);
  EXPECT_EQ(messages[0].prompt_info().request_id(), "mine");
  EXPECT_EQ(messages[0].prompt_info().prompt_tokens(), 2);
  ASSERT_EQ(messages[1].prompt_logprobs().logprobs_size(), 1);
  EXPECT_EQ(messages[1].prompt_logprobs().logprobs(0).logprob(), -2.0f);
  std::string text;
  int token_count = 0;
  for (size_t i = 2; i + 1 < messages.size(); ++i) {
    ASSERT_TRUE(messages[i].has_delta());
    text += messages[i].delta().text();
    token_count += messages[i].delta().token_ids_size();
    EXPECT_EQ(messages[i].delta().token_ids_size(), messages[i].delta().logprobs_size());
  }
  EXPECT_EQ(text, "hih\xC3\xA9llo");
  EXPECT_EQ(token_count, 6);
  EXPECT_EQ(messages.back().finished().usage().completion_tokens(), 6);
}

// "one" and, as the other answers, "two" and "four".
FakeEngine::Script ThreeAnswers() {
  FakeEngine::Script script;
  script.logprob = -2.0f;
  script.others = {{{'t', 'w', 'o'}, -0.5f}, {{'f', 'o', 'u', 'r'}, -1.0f}};
  return script;
}

TEST_F(ServiceTest, SeveralAnswersAreChoices) {
  Answers("one", ThreeAnswers());
  v1::GenerateRequest request = Ask("hi");
  request.mutable_output()->set_n(3);
  request.mutable_output()->set_return_token_ids(true);
  request.mutable_stopping()->add_stop("w");
  v1::GenerateResponse response;
  ASSERT_TRUE(Generate(request, &response).ok());
  EXPECT_FALSE(response.has_text());
  EXPECT_EQ(response.token_ids_size(), 0);
  ASSERT_EQ(response.choices_size(), 3);
  EXPECT_EQ(response.choices(0).text(), "one");
  EXPECT_EQ(response.choices(1).text(), "t");
  EXPECT_EQ(response.choices(1).finished().stop_text(), "w");
  EXPECT_EQ(response.choices(1).finished().usage().completion_tokens(), 2);
  EXPECT_EQ(response.choices(2).index(), 2);
  EXPECT_EQ(response.choices(2).text(), "four");
  EXPECT_EQ(response.choices(2).token_ids_size(), 4);
  EXPECT_EQ(response.finished().usage().prompt_tokens(), 2);
  EXPECT_EQ(response.finished().usage().completion_tokens(), 3 + 2 + 4);
  EXPECT_EQ(engine_.requests()[0].n, 3);
  EXPECT_EQ(engine_.requests()[0].sampling.logprobs, -1);
}

TEST_F(ServiceTest, TheBestOfSeveralAnswersComeFirst) {
  Answers("one", ThreeAnswers());
  v1::GenerateRequest request = Ask("hi");
  request.mutable_output()->set_best_of(3);
  v1::GenerateResponse response;
  ASSERT_TRUE(Generate(request, &response).ok());
  EXPECT_EQ(response.text(), "two");
  EXPECT_EQ(response.choices_size(), 0);
  EXPECT_EQ(response.logprobs_size(), 0);  // Ranked by, not asked for.
  EXPECT_EQ(response.finished().usage().completion_tokens(), 3 + 3 + 4);
  EXPECT_EQ(engine_.requests()[0].n, 3);
  EXPECT_EQ(engine_.requests()[0].sampling.logprobs, 0);
  request.mutable_output()->set_n(2);
  ASSERT_TRUE(Generate(request, &response).ok());
  ASSERT_EQ(response.choices_size(), 2);
  EXPECT_EQ(response.choices(0).text(), "two");
  EXPECT_EQ(response.choices(1).text(), "four");
  EXPECT_EQ(response.choices(1).index(), 1);

  grpc::ClientContext context;
  const auto stream = stub_->GenerateStream(&context, request);
  v1::GenerateStreamResponse message;
  EXPECT_FALSE(stream->Read(&message));
  const grpc::Status refused = stream->Finish();
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(refused.error_message().substr(0, 15), "output.best_of:");
}

TEST_F(ServiceTest, AStreamOfSeveralAnswersTellsTheirIndices) {
  Answers("one", ThreeAnswers());
  v1::GenerateRequest request = Ask("hi");
  request.mutable_output()->set_n(3);
  grpc::ClientContext context;
  const auto stream = stub_->GenerateStream(&context, request);
  std::map<int64_t, std::string> texts;
  std::map<int64_t, int64_t> tokens;
  bool ended = false;
  for (v1::GenerateStreamResponse message; stream->Read(&message);) {
    EXPECT_FALSE(ended);
    if (message.has_delta()) {
      ASSERT_TRUE(message.delta().has_index());
      EXPECT_EQ(tokens.count(message.delta().index()), 0u) << "a delta after its answer's end";
      texts[message.delta().index()] += message.delta().text();
    } else if (message.has_finished() && message.finished().has_index()) {
      tokens[message.finished().index()] = message.finished().usage().completion_tokens();
    } else if (message.has_finished()) {
      ended = true;
      EXPECT_EQ(message.finished().usage().completion_tokens(), 3 + 3 + 4);
    }
  }
  ASSERT_TRUE(stream->Finish().ok());
  EXPECT_TRUE(ended);
  EXPECT_EQ(texts, (std::map<int64_t, std::string>{{0, "one"}, {1, "two"}, {2, "four"}}));
  EXPECT_EQ(tokens, (std::map<int64_t, int64_t>{{0, 3}, {1, 3}, {2, 4}}));
}

TEST_F(ServiceTest, AStopStringEndsTheWork) {
  Answers("one two three");
  v1::GenerateRequest request = Ask("hi");
  request.mutable_stopping()->add_stop(" tw");
  request.mutable_output()->set_return_token_ids(true);
  v1::GenerateResponse response;
  ASSERT_TRUE(Generate(request, &response).ok());
  EXPECT_EQ(response.text(), "one");
  EXPECT_EQ(response.finished().stop_text(), " tw");
  EXPECT_EQ(response.token_ids_size(), 6);
  EXPECT_EQ(response.finished().usage().completion_tokens(), 6);
}

TEST_F(ServiceTest, BadRequestsNeverReachTheEngine) {
  v1::GenerateRequest request = Ask("hi");
  request.mutable_stopping()->set_max_tokens(0);
  v1::GenerateResponse response;
  const grpc::Status status = Generate(request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "stopping.max_tokens: must be from 1 to 2147483647, got 0");
  grpc::ClientContext context;
  const auto stream = stub_->GenerateStream(&context, request);
  v1::GenerateStreamResponse message;
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(engine_.requests().empty());
}

TEST_F(ServiceTest, RefusalsAreLoggedOnceASecond) {
  v1::GenerateResponse response;
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(Generate(v1::GenerateRequest(), &response).error_code(),
              grpc::StatusCode::INVALID_ARGUMENT);
  }
  const size_t lines = log_.Of("request_refused").size();
  EXPECT_GE(lines, 1u);
  EXPECT_LE(lines, 30u);  // Thirty seconds, on the slowest machine.
}

TEST_F(ServiceTest, TheEnginesStatusIsTheClients) {
  const std::map<absl::StatusCode, grpc::StatusCode> codes = {
      {absl::StatusCode::kResourceExhausted, grpc::StatusCode::RESOURCE_EXHAUSTED},
      {absl::StatusCode::kUnavailable, grpc::StatusCode::UNAVAILABLE},
      {absl::StatusCode::kInvalidArgument, grpc::StatusCode::INVALID_ARGUMENT},
      {absl::StatusCode::kInternal, grpc::StatusCode::INTERNAL},
      {absl::StatusCode::kDeadlineExceeded, grpc::StatusCode::DEADLINE_EXCEEDED}};
  for (const auto& [from, to] : codes) {
    // At submission.
    engine_.SetSubmitStatus(absl::Status(from, "why"));
    v1::GenerateResponse response;
    grpc::Status status = Generate(Ask("hi"), &response);
    EXPECT_EQ(status.error_code(), to);
    const bool ours = from == absl::StatusCode::kInternal;  // Its words are our_fault_test's.
    EXPECT_EQ(status.error_message() == "why", !ours);
    engine_.SetSubmitStatus(absl::OkStatus());
    // After some tokens.
    FakeEngine::Script script;
    script.reason = FinishReason::kError;
    script.status = absl::Status(from, "why not");
    Answers("abc", script);
    grpc::ClientContext context;
    status = stub_->Generate(&context, Ask("hi"), &response);
    EXPECT_EQ(status.error_code(), to);
    EXPECT_EQ(status.error_message() == "why not", !ours);
    const auto& trailers = context.GetServerTrailingMetadata();
    ASSERT_EQ(trailers.count("ebb-completion-tokens"), 1u);
    EXPECT_EQ(trailers.find("ebb-completion-tokens")->second, "3");
  }
}

TEST_F(ServiceTest, ALiveRequestsIdIsItsOwn) {
  Answers("abc", Held(1));
  v1::GenerateRequest request = Ask("hi");
  request.set_request_id("mine");
  grpc::ClientContext context;
  const auto stream = stub_->GenerateStream(&context, request);
  v1::GenerateStreamResponse message;
  ASSERT_TRUE(stream->Read(&message));
  v1::GenerateResponse response;
  EXPECT_EQ(Generate(request, &response).error_code(), grpc::StatusCode::ALREADY_EXISTS);
  engine_.ReleaseHeld();
  std::string text;
  while (stream->Read(&message)) text += message.delta().text();
  EXPECT_EQ(text, "abc");
  EXPECT_TRUE(stream->Finish().ok());
  // Free again once the call is over.
  EXPECT_TRUE(WaitUntil([&] { return Generate(request, &response).ok(); }));
}

TEST_F(ServiceTest, AnIdIsFreeOnceItsClientHasTheAnswer) {
  Answers("ok");
  v1::GenerateRequest request = Ask("hi");
  request.set_request_id("again");
  for (int i = 0; i < 100; ++i) {
    v1::GenerateResponse response;
    EXPECT_TRUE(Generate(request, &response).ok());
  }
}

TEST_F(ServiceTest, AClientThatLeavesCancels) {
  Answers("abcdef", Held(2));
  {
    grpc::ClientContext context;
    const auto stream = stub_->GenerateStream(&context, Ask("hi"));
    v1::GenerateStreamResponse message;
    ASSERT_TRUE(stream->Read(&message));
    context.TryCancel();
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  EXPECT_TRUE(WaitUntil([&] { return engine_.Load().finished_total == 1; }));
  // A unary client, too.
  grpc::ClientContext context;
  std::thread leaver([&] {
    WaitUntil([&] { return engine_.requests().size() == 2; });
    context.TryCancel();
  });
  v1::GenerateResponse response;
  EXPECT_EQ(stub_->Generate(&context, Ask("hi"), &response).error_code(),
            grpc::StatusCode::CANCELLED);
  leaver.join();
  EXPECT_TRUE(WaitUntil([&] { return engine_.Load().finished_total == 2; }));
  EXPECT_EQ(engine_.cancel_count(), 2);
}

TEST_F(ServiceTest, AClosedConnectionCancels) {
  Answers("abcdef", Held(2));
  std::shared_ptr<grpc::Channel> channel = NewChannel();
  auto stub = v1::Inference::NewStub(channel);
  auto context = std::make_unique<grpc::ClientContext>();
  auto stream = stub->GenerateStream(context.get(), Ask("hi"));
  v1::GenerateStreamResponse message;
  ASSERT_TRUE(stream->Read(&message));
  stream.reset();
  context.reset();
  stub.reset();
  channel.reset();
  EXPECT_TRUE(WaitUntil([&] { return engine_.Load().finished_total == 1; }));
}

TEST_F(ServiceTest, ADeadlineReachesTheEngine) {
  Answers("abcdef", Held(2));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
  v1::GenerateResponse response;
  EXPECT_EQ(stub_->Generate(&context, Ask("hi"), &response).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  const absl::Time deadline = engine_.requests()[0].deadline;
  EXPECT_GT(deadline, clock_.Now() - absl::Seconds(60));
  EXPECT_LT(deadline, clock_.Now() + absl::Milliseconds(200));
  // It is the engine that ends it, as what it is: a deadline, not a client that left.
  engine_.ExpireDeadlines();
  EXPECT_TRUE(WaitUntil([&] { return engine_.Load().finished_total == 1; }));
  EXPECT_EQ(engine_.cancel_count(), 0);
}

TEST_F(ServiceTest, AnExpiredRequestIsNotSubmitted) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() - std::chrono::seconds(1));
  v1::GenerateResponse response;
  EXPECT_EQ(stub_->Generate(&context, Ask("hi"), &response).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(engine_.requests().empty());
}

// The answer waits in the server; the engine is done with the request long before.
TEST_F(ServiceTest, ASlowReaderHoldsUpNobody) {
  const std::string text(60'000, 'x');
  Answers(text);
  v1::GenerateRequest request = Ask("hi");
  request.mutable_stopping()->set_max_tokens(90'000);
  request.mutable_output()->set_logprobs(20);
  request.mutable_stopping()->set_ignore_eos(true);
  grpc::ClientContext context;
  const auto stream = stub_->GenerateStream(&context, request);
  EXPECT_TRUE(WaitUntil([&] { return engine_.Load().finished_total == 1; }));
  v1::GenerateResponse response;
  Answers("ok");
  EXPECT_TRUE(Generate(Ask("hi"), &response).ok());
  std::string read;
  for (v1::GenerateStreamResponse message; stream->Read(&message);) {
    read += message.delta().text();
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(read, text);
}

TEST_F(ServiceTest, OpenCallsAreBounded) {
  Answers("abc", Held(0));
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::GenerateStreamResponse>>> streams;
  for (size_t i = 0; i < kCallsMax; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    streams.push_back(stub_->GenerateStream(contexts.back().get(), Ask("hi")));
    v1::GenerateStreamResponse message;
    ASSERT_TRUE(streams.back()->Read(&message));
  }
  v1::GenerateResponse response;
  EXPECT_EQ(Generate(Ask("hi"), &response).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  engine_.ReleaseHeld();
  for (const auto& stream : streams) {
    std::string text;
    for (v1::GenerateStreamResponse message; stream->Read(&message);) {
      text += message.delta().text();
    }
    EXPECT_EQ(text, "abc");
    EXPECT_TRUE(stream->Finish().ok());
  }
  EXPECT_TRUE(WaitUntil([&] { return Generate(Ask("hi"), &response).ok(); }));
}

TEST_F(ServiceTest, ADrainRefusesAndFinishes) {
  Answers("abc", Held(1));
  grpc::ClientContext context;
  const auto stream = stub_->GenerateStream(&context, Ask("hi"));
  v1::GenerateStreamResponse message;
  ASSERT_TRUE(stream->Read(&message));

  grpc::ClientContext watch_context;
  const auto health = grpc::health::v1::Health::NewStub(channel_);
  const auto watch = health->Watch(&watch_context, grpc::health::v1::HealthCheckRequest());
  grpc::health::v1::HealthCheckResponse state;
  ASSERT_TRUE(watch->Read(&state));
  EXPECT_EQ(state.status(), grpc::health::v1::HealthCheckResponse::SERVING);

  live_calls_.Close();
  progress_.SetDraining();
  server_->SetServing(false);
  ASSERT_TRUE(watch->Read(&state));
  EXPECT_EQ(state.status(), grpc::health::v1::HealthCheckResponse::NOT_SERVING);
  v1::GenerateResponse response;
  EXPECT_EQ(Generate(Ask("hi"), &response).error_code(), grpc::StatusCode::UNAVAILABLE);
  v1::GetServerInfoResponse info;
  grpc::ClientContext info_context;
  ASSERT_TRUE(control_stub_->GetServerInfo(&info_context, {}, &info).ok());
  EXPECT_EQ(info.state(), v1::SERVER_STATE_DRAINING);
  EXPECT_FALSE(live_calls_.WaitUntilEmpty(absl::ZeroDuration()));

  engine_.ReleaseHeld();
  engine_.Drain(absl::Seconds(30));
  std::string text;
  while (stream->Read(&message)) text += message.delta().text();
  EXPECT_EQ(text, "abc");
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_TRUE(live_calls_.WaitUntilEmpty(absl::Seconds(30)));
  // One who watches does not keep the server from ending.
  server_->Shutdown(absl::Milliseconds(100));
  EXPECT_FALSE(watch->Read(&state));
}

TEST_F(ServiceTest, AHurriedDrainEndsTheRestWithUnavailable) {
  Answers("abc", Held(1));
  grpc::ClientContext context;
  const auto stream = stub_->GenerateStream(&context, Ask("hi"));
  v1::GenerateStreamResponse message;
  ASSERT_TRUE(stream->Read(&message));
  engine_.Drain(absl::ZeroDuration());
  while (stream->Read(&message)) EXPECT_FALSE(message.has_finished());
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(ServiceTest, MalformedCallsGetAStatus) {
  grpc::GenericStub generic(channel_);
  const auto call = [&](const std::string& method, const std::string& bytes) {
    const grpc::Slice slice(bytes);
    grpc::ByteBuffer request(&slice, 1);
    grpc::ByteBuffer response;
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const auto rpc = generic.PrepareUnaryCall(&context, method, request, &queue);
    rpc->StartCall();
    grpc::Status status;
    rpc->Finish(&response, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    return status.error_code();
  };
  const std::string generate = "/ebb.v1.Inference/Generate";
  // The library's own answer to bytes that are no message, or text that is no UTF-8.
  EXPECT_EQ(call(generate, "\xFF\xFF\xFF"), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(call(generate, "\x1A\x02\xC3\x28"), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(call(generate, "\x1A\x02hi"), grpc::StatusCode::OK);
  EXPECT_EQ(call(generate, ""), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(call("/ebb.v1.Inference/Nothing", ""), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(call("/ebb.v2.Inference/Generate", ""), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(call(generate, Ask(std::string(kMessageBytesMax, 'a')).SerializeAsString()),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
}

// Random bytes, and requests with bytes changed: the server answers each and goes on.
TEST_F(ServiceTest, SurvivesRandomRequests) {
  const uint64_t seed = tests::TestSeed();
  Answers("ok");
  for (uint64_t round = 0; round < 500; ++round) {
    SCOPED_TRACE(testing::Message() << "SEED=" << seed << " round " << round);
    base::Rng rng(base::RandomBits(seed, round));
    v1::GenerateRequest request = Ask("hello there");
    request.mutable_sampling()->set_top_p(0.5);
    request.mutable_stopping()->set_max_tokens(5);
    request.mutable_stopping()->add_stop("x");
    request.mutable_sampling()->set_repetition_penalty(1.5);
    (*request.mutable_sampling()->mutable_logit_bias())[65] = -3;
    request.mutable_sampling()->add_bad_words("no");
    request.mutable_output()->set_echo(true);
    std::string bytes = request.SerializeAsString();
    for (int64_t n = rng.Between(1, 6); n > 0; --n) {
      bytes[static_cast<size_t>(rng.Between(0, static_cast<int64_t>(bytes.size()) - 1))] =
          static_cast<char>(rng.Bits());
    }
    v1::GenerateRequest changed;
    if (!changed.ParseFromString(bytes)) continue;
    v1::GenerateResponse response;
    const grpc::StatusCode code = Generate(changed, &response).error_code();
    ASSERT_TRUE(code == grpc::StatusCode::OK || code == grpc::StatusCode::INVALID_ARGUMENT ||
                code == grpc::StatusCode::INTERNAL || code == grpc::StatusCode::NOT_FOUND)
        << code;
  }
}

TEST_F(ServiceTest, ManyClientsAtOnceAllGetTheirOwn) {
  // Everybody gets the own prompt back.
  engine_.SetScript(nullptr);
  std::vector<std::thread> clients;
  std::vector<std::string> answers(32);
  for (size_t i = 0; i < answers.size(); ++i) {
    clients.emplace_back([&, i] {
      const std::string prompt = "client " + std::to_string(i) + " asks";
      for (int round = 0; round < 5; ++round) {
        grpc::ClientContext context;
        const auto stream = stub_->GenerateStream(&context, Ask(prompt));
        std::string text;
        for (v1::GenerateStreamResponse message; stream->Read(&message);) {
          text += message.delta().text();
        }
        if (stream->Finish().ok() && text == prompt) answers[i] += "+";
      }
    });
  }
  for (std::thread& client : clients) client.join();
  for (const std::string& answer : answers) EXPECT_EQ(answer, "+++++");
  EXPECT_EQ(engine_.Load().finished_total, 160);
}

// Long texts take turns on one thread: those that find no place there are refused, the others get
// their tokens, and nobody else waits for them.
TEST_F(ServiceTest, LongTextsHoldUpNobodyElse) {
  codec_.HoldLongTexts();
  const auto tokenize = [this](size_t bytes) {
    v1::TokenizeRequest request;
    request.set_text(std::string(bytes, 'a'));
    v1::TokenizeResponse response;
    grpc::ClientContext context;
    const grpc::Status status = stub_->Tokenize(&context, request, &response);
    EXPECT_EQ(static_cast<size_t>(response.token_ids_size()), status.ok() ? bytes : 0u);
    return status.error_code();
  };
  constexpr size_t kLong = size_t{64} << 10;
  constexpr int kClients = 24;
  std::atomic<int> refused_count = 0;
  std::atomic<int> ok_count = 0;
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.emplace_back([&] {
      const grpc::StatusCode code = tokenize(kLong);
      ++(code == grpc::StatusCode::OK ? ok_count : refused_count);
    });
    EXPECT_TRUE(WaitUntil([&] { return codec_.IsHolding(); }));
  }
  // One is held, 16 wait, the rest are turned away.
  EXPECT_TRUE(WaitUntil([&] { return refused_count == kClients - 17; }));
  EXPECT_EQ(ok_count, 0);
  EXPECT_EQ(tokenize(kLong - 1), grpc::StatusCode::OK);
  EXPECT_EQ(tokenize(kLong), grpc::StatusCode::RESOURCE_EXHAUSTED);
  codec_.LetGo();
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(ok_count, 17);
}

TEST_F(ServiceTest, TokenizesAndDetokenizes) {
  grpc::ClientContext context;
  v1::TokenizeRequest request;
  request.set_text("a<|end|>");
  v1::TokenizeResponse response;
  ASSERT_TRUE(stub_->Tokenize(&context, request, &response).ok());
  EXPECT_EQ(response.token_ids_size(), 8);
  grpc::ClientContext special_context;
  request.set_parse_special(true);
  response.Clear();
  ASSERT_TRUE(stub_->Tokenize(&special_context, request, &response).ok());
  EXPECT_EQ(response.token_ids_size(), 2);
  grpc::ClientContext back_context;
  v1::DetokenizeRequest back;
  back.add_token_ids(97);
  v1::DetokenizeResponse text;
  ASSERT_TRUE(stub_->Detokenize(&back_context, back, &text).ok());
  EXPECT_EQ(text.text(), "a");
}

}  // namespace
}  // namespace ebb::server
