#include "server/vllm/vllm_service.h"

#include <string>
#include <vector>

#include "grpcpp/generic/generic_stub.h"
#include "tests/server/gateway_fixture.h"

namespace ebb::server {
namespace {

using engine::FakeEngine;
using tests::WaitUntil;

namespace wire = ::vllm::grpc::engine;

class VllmServiceTest : public GatewayTest {
 protected:
  static wire::GenerateRequest AskIds(const std::string& prompt, bool stream) {
    wire::GenerateRequest request;
    for (const char c : prompt) {
      request.mutable_tokenized()->add_input_ids(static_cast<uint8_t>(c));
    }
    request.set_stream(stream);
    return request;
  }

  // All messages of one call.
  std::vector<wire::GenerateResponse> Call(const wire::GenerateRequest& request,
                                           grpc::Status* status) {
    grpc::ClientContext context;
    const auto stream = vllm_stub_->Generate(&context, request);
    std::vector<wire::GenerateResponse> messages;
    for (wire::GenerateResponse message; stream->Read(&message);) messages.push_back(message);
    *status = stream->Finish();
    return messages;
  }

  // The one message of a call that is not streamed, and went well.
  wire::GenerateComplete Complete(const wire::GenerateRequest& request) {
    grpc::Status status;
    const std::vector<wire::GenerateResponse> messages = Call(request, &status);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(messages.size(), 1u);
    return messages.empty() ? wire::GenerateComplete() : messages[0].complete();
  }

  template <typename Ids>
  static std::string TextOf(const Ids& ids) {
    return std::string(ids.begin(), ids.end());
  }

  static FakeEngine::Script StopsAtEnd() {
    FakeEngine::Script script;
    script.stop_token_id = FakeTextCodec::kEnd;
    return script;
  }
};

TEST_F(VllmServiceTest, AnswersWholeInOneMessage) {
  Answers("hello", StopsAtEnd());
  const wire::GenerateComplete complete = Complete(AskIds("hi", false));
  EXPECT_EQ(TextOf(complete.output_ids()), "hello");
  EXPECT_EQ(complete.finish_reason(), "stop");
  EXPECT_EQ(complete.prompt_tokens(), 2u);
  EXPECT_EQ(complete.completion_tokens(), 5u);
  EXPECT_FALSE(complete.has_output_logprobs());
  EXPECT_FALSE(complete.has_input_logprobs());
  // The model's own end is no match of the client's.
  EXPECT_EQ(complete.matched_stop_case(), wire::GenerateComplete::MATCHED_STOP_NOT_SET);
  EXPECT_EQ(TextOf(engine_.requests()[0].prompt), "hi");
}

TEST_F(VllmServiceTest, StreamsDeltasAndThenHowItEnded) {
  Answers("hello");
  wire::GenerateRequest request = AskIds("hi", true);
  request.mutable_sampling_params()->set_max_tokens(4);
  grpc::Status status;
  const std::vector<wire::GenerateResponse> messages = Call(request, &status);
  ASSERT_TRUE(status.ok());
  ASSERT_GE(messages.size(), 2u);
  std::string text;
  for (size_t i = 0; i + 1 < messages.size(); ++i) {
    text += TextOf(messages[i].chunk().token_ids());
    EXPECT_EQ(messages[i].chunk().prompt_tokens(), 2u);
    EXPECT_EQ(messages[i].chunk().completion_tokens(), text.size());
  }
  EXPECT_EQ(text, "hell");
  const wire::GenerateComplete& complete = messages.back().complete();
  EXPECT_EQ(complete.finish_reason(), "length");
  EXPECT_EQ(complete.output_ids_size(), 0);
  EXPECT_EQ(complete.completion_tokens(), 4u);
}

TEST_F(VllmServiceTest, ATextPromptHasControlTokens) {
  Answers("x");
  wire::GenerateRequest request;
  request.set_text("a<|end|>");
  Complete(request);
  EXPECT_EQ(engine_.requests()[0].prompt, (std::vector<int32_t>{'a', FakeTextCodec::kEnd}));
}

TEST_F(VllmServiceTest, SaysWhichStopMatched) {
  Answers("one two three");
  wire::GenerateRequest request = AskIds("hi", false);
  request.mutable_sampling_params()->add_stop(" tw");
  wire::GenerateComplete complete = Complete(request);
  EXPECT_EQ(complete.matched_stop_str(), " tw");
  EXPECT_EQ(complete.finish_reason(), "stop");
  // Tokens are given as they were made; the gateway cuts its text.
  EXPECT_EQ(TextOf(complete.output_ids()), "one tw");

  FakeEngine::Script script;
  script.stop_token_id = 'x';
  Answers("one", script);
  request.mutable_sampling_params()->add_stop_token_ids('x');
  complete = Complete(request);
  EXPECT_EQ(complete.matched_token_id(), static_cast<uint32_t>('x'));
  EXPECT_EQ(TextOf(complete.output_ids()), "one");
}

TEST_F(VllmServiceTest, GivesTheStopTokenWhereItIsAskedFor) {
  FakeEngine::Script script;
  script.stop_token_id = 'x';
  Answers("one", script);
  wire::GenerateRequest request = AskIds("hi", false);
  request.mutable_sampling_params()->add_stop_token_ids('x');
  request.mutable_sampling_params()->set_include_stop_str_in_output(true);
  const wire::GenerateComplete complete = Complete(request);
  EXPECT_EQ(TextOf(complete.output_ids()), "onex");
  EXPECT_EQ(complete.completion_tokens(), 4u);

  request.set_stream(true);
  grpc::Status status;
  std::string text;
  for (const wire::GenerateResponse& message : Call(request, &status)) {
    text += TextOf(message.chunk().token_ids());
  }
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(text, "onex");
}

// skip_special_tokens says whether a control token's spelling can be a stop string.
TEST_F(VllmServiceTest, StopStringsSeeControlTokensUnlessTheyAreSkipped) {
  engine_.SetScript([](const engine::Request&) {
    FakeEngine::Script script;
    script.tokens = {'a', FakeTextCodec::kBegin, 'b'};
    return script;
  });
  wire::GenerateRequest request = AskIds("hi", false);
  request.mutable_sampling_params()->add_stop("<|begin|>");
  EXPECT_EQ(Complete(request).matched_stop_str(), "<|begin|>");
  request.mutable_sampling_params()->set_skip_special_tokens(true);
  EXPECT_EQ(Complete(request).output_ids_size(), 3);
}

TEST_F(VllmServiceTest, GivesLogprobsOfPromptAndAnswer) {
  FakeEngine::Script script;
  script.prompt_logprobs = {{'i', -2.0f, {{'j', -1.0f}}}};
  for (const bool stream : {false, true}) {
    Answers("ab", script);
    wire::GenerateRequest request = AskIds("hi", stream);
    request.mutable_sampling_params()->set_logprobs(2);
    request.mutable_sampling_params()->set_prompt_logprobs(1);
    grpc::Status status;
    const std::vector<wire::GenerateResponse> messages = Call(request, &status);
    ASSERT_TRUE(status.ok());
    const wire::InputLogProbs input =
        stream ? messages[0].chunk().input_logprobs() : messages[0].complete().input_logprobs();
    ASSERT_EQ(input.token_ids_size(), 2);
    EXPECT_EQ(input.token_ids(0), static_cast<uint32_t>('h'));
    EXPECT_FALSE(input.token_logprobs(0).has_value());
    EXPECT_EQ(input.token_ids(1), static_cast<uint32_t>('i'));
    EXPECT_EQ(input.token_logprobs(1).value(), -2.0f);
    ASSERT_EQ(input.top_logprobs_size(), 2);
    EXPECT_EQ(input.top_logprobs(1).token_ids(0), static_cast<uint32_t>('j'));

    wire::OutputLogProbs output;
    for (const wire::GenerateResponse& message : messages) {
      output.MergeFrom(message.chunk().output_logprobs());
      output.MergeFrom(message.complete().output_logprobs());
    }
    ASSERT_EQ(output.token_ids_size(), 2);
    EXPECT_EQ(output.token_ids(1), static_cast<uint32_t>('b'));
    EXPECT_EQ(output.token_logprobs(1), -0.5f);
    ASSERT_EQ(output.top_logprobs_size(), 2);
    EXPECT_EQ(output.top_logprobs(1).values(1), -1.5f);
    EXPECT_EQ(output.top_logprobs(1).token_ids(1), static_cast<uint32_t>('c'));
  }
}

TEST_F(VllmServiceTest, AbortEndsARequestByItsId) {
  for (const bool stream : {false, true}) {
    Answers("abcdef", Held(2));
    wire::GenerateRequest request = AskIds("hi", stream);
    request.set_request_id("chatcmpl-7");
    grpc::ClientContext context;
    const auto call = vllm_stub_->Generate(&context, request);
    ASSERT_TRUE(WaitUntil([&] { return engine_.Load().running_requests == 1; }));
    wire::AbortRequest abort;
    abort.add_request_ids("nobody");
    abort.add_request_ids("chatcmpl-7");
    wire::AbortResponse aborted;
    grpc::ClientContext abort_context;
    EXPECT_TRUE(vllm_stub_->Abort(&abort_context, abort, &aborted).ok());
    std::vector<wire::GenerateResponse> messages;
    for (wire::GenerateResponse message; call->Read(&message);) messages.push_back(message);
    EXPECT_TRUE(call->Finish().ok());
    ASSERT_FALSE(messages.empty());
    EXPECT_EQ(messages.back().complete().finish_reason(), "abort");
    // The client may have its answer a moment before.
    EXPECT_TRUE(WaitUntil([&] { return engine_.Load().running_requests == 0; }));
  }
  EXPECT_EQ(engine_.cancel_count(), 2);
}

TEST_F(VllmServiceTest, EachOfSeveralAnswersIsComplete) {
  FakeEngine::Script script;
  script.others = {{{'t', 'w', 'o'}, -0.5f}, {{'f', 'o', 'u', 'r'}, -1.0f}};
  Answers("one", script);
  const std::vector<std::string> texts = {"one", "two", "four"};
  for (const bool streams : {false, true}) {
    wire::GenerateRequest request = AskIds("hi", streams);
    request.mutable_sampling_params()->set_n(3);
    request.mutable_sampling_params()->set_logprobs(0);
    request.mutable_sampling_params()->set_prompt_logprobs(0);
    grpc::Status status;
    std::vector<std::string> got(3);
    std::vector<int> completes(3), logprobs(3);
    int prompts = 0;
    for (const wire::GenerateResponse& message : Call(request, &status)) {
      const wire::GenerateComplete& complete = message.complete();
      const wire::GenerateStreamChunk& chunk = message.chunk();
      const size_t index = message.has_chunk() ? chunk.index() : complete.index();
      EXPECT_EQ(completes.at(index), 0) << "nothing follows a complete one";
      got[index] += TextOf(message.has_chunk() ? chunk.token_ids() : complete.output_ids());
      logprobs[index] +=
          chunk.output_logprobs().token_ids_size() + complete.output_logprobs().token_ids_size();
      prompts += chunk.has_input_logprobs() + complete.has_input_logprobs();
      if (message.has_chunk()) continue;
      ++completes[index];
      EXPECT_EQ(complete.finish_reason(), "stop");
      EXPECT_EQ(complete.prompt_tokens(), 2u);
      EXPECT_EQ(complete.completion_tokens(), texts[index].size());
    }
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(got, texts);
    EXPECT_EQ(completes, (std::vector<int>{1, 1, 1}));
    EXPECT_EQ(logprobs, (std::vector<int>{3, 3, 4}));
    EXPECT_EQ(prompts, 1);
  }
  wire::GenerateRequest many = AskIds("hi", false);
  many.mutable_sampling_params()->set_n(4'000'000'000);
  grpc::Status status;
  Call(many, &status);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(VllmServiceTest, AbortEndsEveryAnswer) {
  FakeEngine::Script script = Held(2);
  script.others = {{{'t', 'w', 'o'}, -0.5f}};
  Answers("one", script);
  wire::GenerateRequest request = AskIds("hi", true);
  request.set_request_id("mine");
  request.mutable_sampling_params()->set_n(2);
  grpc::ClientContext context;
  const auto stream = vllm_stub_->Generate(&context, request);
  wire::GenerateResponse message;
  ASSERT_TRUE(stream->Read(&message));
  wire::AbortRequest abort;
  abort.add_request_ids("mine");
  wire::AbortResponse aborted;
  grpc::ClientContext abort_context;
  ASSERT_TRUE(vllm_stub_->Abort(&abort_context, abort, &aborted).ok());
  std::vector<std::string> reasons(2);
  while (stream->Read(&message)) {
    if (message.has_complete()) {
      reasons.at(message.complete().index()) += message.complete().finish_reason();
    }
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(reasons, (std::vector<std::string>{"abort", "abort"}));
}

TEST_F(VllmServiceTest, AClientThatLeavesCancels) {
  Answers("abcdef", Held(2));
  grpc::ClientContext context;
  const auto call = vllm_stub_->Generate(&context, AskIds("hi", true));
  wire::GenerateResponse message;
  ASSERT_TRUE(call->Read(&message));
  context.TryCancel();
  EXPECT_FALSE(call->Finish().ok());
  EXPECT_TRUE(WaitUntil([&] { return engine_.Load().finished_total == 1; }));
  EXPECT_EQ(engine_.cancel_count(), 1);
}

TEST_F(VllmServiceTest, ErrorsAreStatuses) {
  const auto code = [this](const wire::GenerateRequest& request) {
    grpc::Status status;
    EXPECT_TRUE(Call(request, &status).empty());
    return status.error_code();
  };
  wire::GenerateRequest request = AskIds("hi", true);
  request.mutable_sampling_params()->set_regex("a");
  EXPECT_EQ(code(request), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(code(wire::GenerateRequest()), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(engine_.requests().empty());
  request = AskIds("hi", true);
  request.mutable_tokenized()->add_input_ids(4'000'000'000);
  EXPECT_EQ(code(request), grpc::StatusCode::INVALID_ARGUMENT);
  engine_.SetSubmitStatus(absl::ResourceExhaustedError("full"));
  EXPECT_EQ(code(AskIds("hi", true)), grpc::StatusCode::RESOURCE_EXHAUSTED);
  live_calls_.Close();
  EXPECT_EQ(code(AskIds("hi", true)), grpc::StatusCode::UNAVAILABLE);
  EXPECT_FALSE(log_.Of("request_refused").empty());
}

TEST_F(VllmServiceTest, TellsHealth) {
  const auto health = [this] {
    grpc::ClientContext context;
    wire::HealthCheckResponse response;
    EXPECT_TRUE(vllm_stub_->HealthCheck(&context, {}, &response).ok());
    return response;
  };
  EXPECT_TRUE(health().healthy());
  progress_.SetDraining();
  EXPECT_FALSE(health().healthy());
  EXPECT_NE(health().message().find("draining"), std::string::npos);
  engine_.LoseDevice("gone");
  progress_.Poll();
  EXPECT_FALSE(health().healthy());
  EXPECT_NE(health().message().find("lost its device"), std::string::npos);
}

TEST_F(VllmServiceTest, TellsWhatItServes) {
  grpc::ClientContext context;
  wire::GetModelInfoResponse model;
  ASSERT_TRUE(vllm_stub_->GetModelInfo(&context, {}, &model).ok());
  EXPECT_EQ(model.served_model_name(), "fake");
  EXPECT_TRUE(model.is_generation());
  EXPECT_EQ(model.max_context_length(), 100'000u);
  EXPECT_EQ(model.vocab_size(), static_cast<uint32_t>(FakeTextCodec::kVocabularyTokens));
  EXPECT_EQ(model.model_type(), "llama");
  ASSERT_EQ(model.eos_token_ids_size(), 1);
  EXPECT_EQ(model.eos_token_ids(0), FakeTextCodec::kEnd);

  Answers("a");
  Complete(AskIds("hi", false));
  grpc::ClientContext info_context;
  wire::GetServerInfoResponse info;
  ASSERT_TRUE(vllm_stub_->GetServerInfo(&info_context, {}, &info).ok());
  EXPECT_EQ(info.max_num_seqs(), 8);
  EXPECT_EQ(info.data_parallel_size(), 1);
  EXPECT_EQ(info.kv_cache_dtype(), "f16");
  EXPECT_GE(info.uptime_seconds(), 0);
  EXPECT_NEAR(info.last_receive_timestamp(),
              absl::ToDoubleSeconds(clock_.Now() - absl::UnixEpoch()), 60);
}

TEST_F(VllmServiceTest, TellsItsLoad) {
  engine::MemoryView memory;
  memory.needed_bytes = 500;
  memory.limit_bytes = 2000;
  engine_.SetMemoryView(memory);
  Answers("abc", Held(1));
  grpc::ClientContext context;
  const auto call = vllm_stub_->Generate(&context, AskIds("hi", true));
  wire::GenerateResponse message;
  ASSERT_TRUE(call->Read(&message));
  wire::GetLoadsRequest request;
  request.add_include("core");
  wire::GetLoadsResponse loads;
  grpc::ClientContext loads_context;
  ASSERT_TRUE(vllm_stub_->GetLoads(&loads_context, request, &loads).ok());
  ASSERT_EQ(loads.loads_size(), 1);
  EXPECT_EQ(loads.loads(0).num_running_reqs(), 1);
  EXPECT_EQ(loads.loads(0).num_total_reqs(), 1);
  EXPECT_EQ(loads.loads(0).num_used_tokens(), 50);
  EXPECT_EQ(loads.loads(0).max_total_num_tokens(), 200);
  EXPECT_EQ(loads.loads(0).token_usage(), 0.25);
  EXPECT_EQ(loads.loads(0).utilization(), 0.125);
  request.set_dp_rank(1);
  grpc::ClientContext other_context;
  EXPECT_EQ(vllm_stub_->GetLoads(&other_context, request, &loads).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  engine_.ReleaseHeld();
  while (call->Read(&message)) {
  }
  EXPECT_TRUE(call->Finish().ok());
}

TEST_F(VllmServiceTest, SendsTheTokenizerInPieces) {
  grpc::ClientContext context;
  const auto stream = vllm_stub_->GetTokenizer(&context, {});
  std::string bytes;
  std::vector<std::string> sums;
  for (wire::GetTokenizerChunk chunk; stream->Read(&chunk);) {
    EXPECT_LE(chunk.data().size(), size_t{64} << 10);
    bytes += chunk.data();
    sums.push_back(chunk.sha256());
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(bytes, *archive_);
  // head -c 150000 /dev/zero | tr '\0' z | sha256sum
  EXPECT_EQ(sums, (std::vector<std::string>{
                      "", "", "82d7c3408941ca2a1bd0df86386e6c9a10a848953caabbf8c0e54de48d5e94ff"}));
  archive_ = absl::UnimplementedError("no such pre-tokenizer");
  grpc::ClientContext refused_context;
  const auto refused = vllm_stub_->GetTokenizer(&refused_context, {});
  wire::GetTokenizerChunk chunk;
  EXPECT_FALSE(refused->Read(&chunk));
  EXPECT_EQ(refused->Finish().error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(VllmServiceTest, HasNoCacheToFlush) {
  grpc::ClientContext context;
  wire::FlushCacheResponse response;
  ASSERT_TRUE(vllm_stub_->FlushCache(&context, {}, &response).ok());
  EXPECT_TRUE(response.success());
}

// A gateway finds out by calling which contract a server speaks, and what of it.
TEST_F(VllmServiceTest, OtherCallsAreUnimplementedAtOnce) {
  grpc::GenericStub generic(gateway_channel_);
  for (const std::string method :
       {"/vllm.grpc.engine.VllmEngine/Embed", "/vllm.grpc.engine.VllmEngine/SubscribeKvEvents",
        "/vllm.grpc.engine.VllmEngine/StartProfile",
        "/sglang.grpc.scheduler.SglangScheduler/HealthCheck",
        "/trtllm.TrtllmService/HealthCheck"}) {
    grpc::ByteBuffer request;
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
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << method;
  }
}

}  // namespace
}  // namespace ebb::server
