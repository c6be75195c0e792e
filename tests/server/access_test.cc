// Who is let in: the tokens file, its changes, and that every method asks.
#include "server/access.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <future>

#include "absl/strings/match.h"
#include "base/clock_fake.h"
#include "cli/connection.h"
#include "grpcpp/generic/generic_stub.h"
#include "tests/server/gateway_fixture.h"

namespace ebb::server {
namespace {

constexpr char kAnna[] = "anna-token-0123456789";
constexpr char kBert[] = "bert-token-0123456789";
constexpr char kCarl[] = "carl-token-0123456789";
constexpr char kOlga[] = "olga-token-0123456789";

void WriteTokens(const std::string& path, const std::string& text, mode_t mode = 0600) {
  // A new file in the old one's place, as whoever rotates tokens does.
  const std::string next = path + ".next";
  std::ofstream(next) << text;
  ASSERT_EQ(chmod(next.c_str(), mode), 0);
  ASSERT_EQ(std::rename(next.c_str(), path.c_str()), 0);
}

std::string TokensPath(const std::string& name) { return testing::TempDir() + "/" + name; }

TEST(ParseTokensTest, ReadsNamesAndComments) {
  const auto tokens = ParseTokens(std::string("# who\n\nanna ") + kAnna + "\r\n\tbert  " + kBert,
                                  TokenHolders::kUsers, "f");
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  ASSERT_EQ(tokens->size(), 2u);
  EXPECT_EQ((*tokens)[0].name, "anna");
  EXPECT_EQ((*tokens)[1].name, "bert");
}

TEST(ParseTokensTest, RefusesAndNamesTheLineNotTheToken) {
  const std::string anna = std::string("anna ") + kAnna + "\n";
  const std::pair<std::string, std::string> cases[] = {
      {"", "holds no token"},
      {anna + "bert", "f:2: must be NAME TOKEN"},
      {anna + "bert " + kBert + " more", "f:2: must be NAME TOKEN"},
      {anna + "be/rt " + kBert, "f:2: the name"},
      {anna + "bert short", "f:2: the token must be 16"},
      {anna + "bert " + std::string(513, 'x'), "f:2: the token must be 16"},
      {anna + "bert " + std::string(20, '\xe4'), "f:2: the token must be 16"},
      {anna + "anna " + kBert, "f:2: the name is given twice"},
      {anna + "bert " + kAnna, "f:2: the token is given twice"},
  };
  for (const auto& [text, problem] : cases) {
    const auto tokens = ParseTokens(text, TokenHolders::kUsers, "f");
    ASSERT_FALSE(tokens.ok()) << text;
    const std::string message(tokens.status().message());
    EXPECT_NE(message.find(problem), std::string::npos) << message;
    EXPECT_EQ(message.find("token-0123"), std::string::npos) << message;
  }
  std::string many;
  for (int i = 0; i < 1025; ++i) {
    const std::string number = std::to_string(100000 + i);
    many += "n" + number + " token-token-" + number + "\n";
  }
  EXPECT_FALSE(ParseTokens(many, TokenHolders::kUsers, "f").ok());
}

class AccessGateTest : public testing::Test {
 protected:
  AccessGateTest() { WriteTokens(path_, std::string("anna ") + kAnna); }
  absl::StatusOr<std::unique_ptr<AccessGate>> Open() {
    return AccessGate::Open(TokenHolders::kUsers, path_, &clock_, &log_);
  }
  static std::string Bearer(const std::string& token) { return "Bearer " + token; }

  const std::string path_ = TokensPath("gate_tokens");
  base::FakeClock clock_;
  KeepLog log_;
};

TEST_F(AccessGateTest, RefusesFilesThatAreNotSecret) {
  WriteTokens(path_, std::string("anna ") + kAnna, 0644);
  const auto open = Open();
  ASSERT_TRUE(absl::IsInvalidArgument(open.status())) << open.status();
  EXPECT_NE(open.status().message().find("chmod o-r"), std::string::npos) << open.status();
  EXPECT_FALSE(AccessGate::Open(TokenHolders::kUsers, "/nowhere/tokens", &clock_, &log_).ok());
  EXPECT_FALSE(AccessGate::Open(TokenHolders::kUsers, "/dev/null", &clock_, &log_).ok());
}

TEST_F(AccessGateTest, TellsTheTenant) {
  const auto gate = *Open();
  EXPECT_EQ(*gate->Check(Bearer(kAnna)), "anna");
  EXPECT_EQ(*gate->Check(std::string("bearer  ") + kAnna), "anna");
  for (const std::string& wrong :
       {std::string(), std::string("Bearer "), std::string(kAnna), std::string("Basic ") + kAnna,
        Bearer(kBert), Bearer(std::string(kAnna) + "x")}) {
    EXPECT_TRUE(absl::IsUnauthenticated(gate->Check(wrong).status())) << wrong;
  }
}

TEST_F(AccessGateTest, TakesUpAChangedFile) {
  const auto gate = *Open();
  WriteTokens(path_, std::string("bert ") + kBert);
  EXPECT_TRUE(gate->Check(Bearer(kAnna)).ok()) << "looked again within a second";
  clock_.Advance(absl::Seconds(1));
  EXPECT_FALSE(gate->Check(Bearer(kAnna)).ok());
  EXPECT_EQ(*gate->Check(Bearer(kBert)), "bert");
  EXPECT_EQ(log_.Of("tokens_read").size(), 1u);
}

TEST_F(AccessGateTest, ABrokenFileChangesNothing) {
  const auto gate = *Open();
  WriteTokens(path_, "anna");
  for (int i = 0; i < 3; ++i) {
    clock_.Advance(absl::Seconds(2));
    EXPECT_TRUE(gate->Check(Bearer(kAnna)).ok());
  }
  EXPECT_EQ(log_.Of("tokens_refused").size(), 1u) << "once for each version of the file";
  ASSERT_EQ(unlink(path_.c_str()), 0);
  clock_.Advance(absl::Seconds(2));
  EXPECT_TRUE(gate->Check(Bearer(kAnna)).ok());
  EXPECT_EQ(log_.Of("tokens_refused").size(), 2u);
}

// ---- On gRPC

// Anna and Carl use the server and Olga runs it.
struct TwoGates {
  TwoGates() {
    WriteTokens(users_path, std::string("anna ") + kAnna + "\ncarl " + kCarl);
    WriteTokens(operators_path, std::string("olga ") + kOlga);
    users = *AccessGate::Open(TokenHolders::kUsers, users_path, &gate_clock, &gate_log);
    operators = *AccessGate::Open(TokenHolders::kOperators, operators_path, &gate_clock, &gate_log);
  }
  const std::string users_path = TokensPath("grpc_tokens");
  const std::string operators_path = TokensPath("grpc_control_tokens");
  base::FakeClock gate_clock;
  KeepLog gate_log;
  std::unique_ptr<AccessGate> users;
  std::unique_ptr<AccessGate> operators;
};

class GrpcAccessTest : protected TwoGates, public GatewayTest {
 protected:
  GrpcAccessTest() : GrpcAccessTest(/*has_users=*/true, /*has_operators=*/true) {}
  GrpcAccessTest(bool has_users, bool has_operators)
      : GatewayTest(has_users ? users.get() : nullptr, has_operators ? operators.get() : nullptr) {}

  static std::vector<std::string> ControlMethods() {
    std::vector<std::string> paths;
    const auto* const service =
        v1::GenerateRequest::descriptor()->file()->FindServiceByName("Control");
    for (int m = 0; m < service->method_count(); ++m) {
      paths.push_back("/ebb.v1.Control/" + service->method(m)->name());
    }
    return paths;
  }
  // What each of Control's methods says to this token. SetMemoryLimit lacks its limit.
  void ExpectControlSays(const std::string& token, grpc::StatusCode code) {
    EXPECT_GE(ControlMethods().size(), 6u);
    for (const std::string& path : ControlMethods()) {
      const std::vector<std::string> headers =
          token.empty() ? std::vector<std::string>() : std::vector<std::string>{"Bearer " + token};
      const bool is_let_in = code == grpc::StatusCode::OK;
      const bool lacks_limit = is_let_in && absl::EndsWith(path, "/SetMemoryLimit");
      EXPECT_EQ(Call(path, headers).error_code(),
                lacks_limit ? grpc::StatusCode::INVALID_ARGUMENT : code)
          << path << " " << token;
    }
    base::MutexLock lock(&mutex_);
    EXPECT_EQ(drain_graces_.empty(), code != grpc::StatusCode::OK);
    drain_graces_.clear();
  }

  // An empty message to any method.
  grpc::Status Call(const std::string& method, const std::vector<std::string>& authorizations) {
    const bool is_ours = absl::StartsWith(method, "/ebb.") || absl::StartsWith(method, "/grpc.");
    grpc::TemplatedGenericStub<v1::DrainRequest, v1::DrainResponse> stub(
        is_ours ? channel_ : gateway_channel_);
    grpc::ClientContext context;
    for (const std::string& value : authorizations) context.AddMetadata("authorization", value);
    const v1::DrainRequest request;
    v1::DrainResponse response;
    std::promise<grpc::Status> done;
    stub.UnaryCall(&context, method, grpc::StubOptions(), &request, &response,
                   [&done](grpc::Status status) { done.set_value(status); });
    return done.get_future().get();
  }
};

TEST_F(GrpcAccessTest, EveryMethodAsksForAToken) {
  std::vector<std::string> paths;
  for (const google::protobuf::FileDescriptor* file :
       {v1::GenerateRequest::descriptor()->file(),
        ::vllm::grpc::engine::GenerateRequest::descriptor()->file(),
        ::inference::ModelInferRequest::descriptor()->file()}) {
    for (int s = 0; s < file->service_count(); ++s) {
      for (int m = 0; m < file->service(s)->method_count(); ++m) {
        paths.push_back("/" + file->service(s)->full_name() + "/" +
                        file->service(s)->method(m)->name());
      }
    }
  }
  EXPECT_GE(paths.size(), 10u + 8u + 7u);
  const std::string right = std::string("Bearer ") + kAnna;
  for (const std::string& path : paths) {
    if (absl::EndsWith(path, "/ServerLive")) continue;  // Liveness is nobody's secret.
    for (const std::vector<std::string>& wrong :
         std::vector<std::vector<std::string>>{{},
                                               {""},
                                               {"Bearer"},
                                               {"Bearer "},
                                               {"Bearer wrong-token-0123456789"},
                                               {"Bearer " + std::string(4096, 'x')},
                                               {right + "x"},
                                               {kAnna},
                                               {right, right}}) {
      EXPECT_EQ(Call(path, wrong).error_code(), grpc::StatusCode::UNAUTHENTICATED) << path;
    }
  }
  EXPECT_TRUE(engine_.requests().empty());
  base::MutexLock lock(&mutex_);
  EXPECT_TRUE(drain_graces_.empty());
}

TEST_F(GrpcAccessTest, TheTokensNameIsTheTenant) {
  Answers("hi");
  grpc::ClientContext context;
  context.AddMetadata("authorization", std::string("Bearer ") + kAnna);
  v1::GenerateResponse response;
  const grpc::Status status = stub_->Generate(&context, Ask("a"), &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(engine_.requests()[0].tenant, "anna");
}

// A tenant's request ids are its own: nobody learns of them, takes them or ends their requests.
TEST_F(GrpcAccessTest, RequestIdsAreATenantsOwn) {
  namespace vllm = ::vllm::grpc::engine;
  Answers("abcdef", Held(2));
  const auto bring = [](const std::string& token, grpc::ClientContext* context) {
    context->AddMetadata("authorization", "Bearer " + token);
  };
  const auto abort = [&](const std::string& token) {
    grpc::ClientContext context;
    bring(token, &context);
    vllm::AbortRequest request;
    request.add_request_ids("mine");
    vllm::AbortResponse response;
    EXPECT_TRUE(vllm_stub_->Abort(&context, request, &response).ok());
  };
  vllm::GenerateRequest request;
  request.mutable_tokenized()->add_input_ids('h');
  request.set_request_id("mine");
  grpc::ClientContext contexts[2];
  std::unique_ptr<grpc::ClientReader<vllm::GenerateResponse>> streams[2];
  const char* const tokens[2] = {kAnna, kCarl};
  abort(kCarl);
  for (int i = 0; i < 2; ++i) {
    bring(tokens[i], &contexts[i]);
    streams[i] = vllm_stub_->Generate(&contexts[i], request);
    const auto count = static_cast<size_t>(i + 1);
    ASSERT_TRUE(tests::WaitUntil([&] { return engine_.requests().size() == count; }));
    if (i == 0) abort(kCarl);
    EXPECT_EQ(engine_.cancel_count(), 0);
  }
  for (int i = 0; i < 2; ++i) {
    abort(tokens[i]);
    EXPECT_TRUE(tests::WaitUntil([&] { return engine_.cancel_count() == i + 1; }));
    vllm::GenerateResponse last;
    while (streams[i]->Read(&last)) {
    }
    EXPECT_EQ(last.complete().finish_reason(), "abort");
    EXPECT_TRUE(streams[i]->Finish().ok());
  }
  // Over: the same answer as for an id that never was.
  EXPECT_TRUE(live_calls_.WaitUntilEmpty(absl::Seconds(10)));
  for (const char* const token : tokens) abort(token);
  EXPECT_EQ(engine_.cancel_count(), 2);
}

TEST_F(GrpcAccessTest, ControlIsForOperatorsAndTheyAreNoUsers) {
  ExpectControlSays(kOlga, grpc::StatusCode::OK);
  ExpectControlSays(kAnna, grpc::StatusCode::PERMISSION_DENIED);
  ExpectControlSays(kBert, grpc::StatusCode::UNAUTHENTICATED);
  ExpectControlSays("", grpc::StatusCode::UNAUTHENTICATED);
  const auto refused = log_.Of("request_refused");
  ASSERT_EQ(refused.size(), 2u) << "one line a second for each status";
  EXPECT_EQ(refused[0].at("status"), "PERMISSION_DENIED");
  EXPECT_EQ(Call("/ebb.v1.Inference/Tokenize", {std::string("Bearer ") + kOlga}).error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(GrpcAccessTest, ATokenInBothFilesIsAUsers) {
  WriteTokens(operators_path, std::string("anna ") + kAnna + "\nolga " + kOlga);
  gate_clock.Advance(absl::Seconds(2));
  ExpectControlSays(kOlga, grpc::StatusCode::OK);
  ExpectControlSays(kAnna, grpc::StatusCode::PERMISSION_DENIED);
}

TEST_F(GrpcAccessTest, OperatorsTokensChangeWhileTheServerRuns) {
  WriteTokens(operators_path, std::string("bert ") + kBert);
  gate_clock.Advance(absl::Seconds(2));
  ExpectControlSays(kBert, grpc::StatusCode::OK);
  ExpectControlSays(kOlga, grpc::StatusCode::UNAUTHENTICATED);
  ASSERT_EQ(gate_log.Of("tokens_read").size(), 1u);
  EXPECT_EQ(gate_log.Of("tokens_read")[0].at("setting"), "security.control_tokens_file");
}

class UsersAloneTest : public GrpcAccessTest {
 protected:
  UsersAloneTest() : GrpcAccessTest(/*has_users=*/true, /*has_operators=*/false) {}
};

TEST_F(UsersAloneTest, ControlIsClosedWhereOnlyUsersHaveTokens) {
  ExpectControlSays(kAnna, grpc::StatusCode::PERMISSION_DENIED);
  ExpectControlSays(kOlga, grpc::StatusCode::UNAUTHENTICATED);
  ExpectControlSays("", grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_TRUE(Call("/ebb.v1.Inference/Detokenize", {std::string("Bearer ") + kAnna}).ok());
}

class OperatorsAloneTest : public GrpcAccessTest {
 protected:
  OperatorsAloneTest() : GrpcAccessTest(/*has_users=*/false, /*has_operators=*/true) {}
};

TEST_F(OperatorsAloneTest, OnlyControlAsks) {
  ExpectControlSays(kOlga, grpc::StatusCode::OK);
  ExpectControlSays(kAnna, grpc::StatusCode::UNAUTHENTICATED);
  ExpectControlSays("", grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_TRUE(Call("/ebb.v1.Inference/Detokenize", {}).ok());
}

TEST_F(GrpcAccessTest, TheCommandLinesConnectionSendsItsToken) {
  const std::string address = server_->address().ToString();
  const auto lets_in = [&](const std::string& token, const std::string& control_token) {
    cli::Credentials credentials;
    credentials.token = token;
    credentials.control_token = control_token;
    const cli::Connection connection(address, credentials);
    grpc::ClientContext inference_context;
    v1::DetokenizeResponse text;
    const bool inference = connection.inference()->Detokenize(&inference_context, {}, &text).ok();
    grpc::ClientContext control_context;
    v1::GetMemoryResponse memory;
    return std::pair(inference,
                     connection.control()->GetMemory(&control_context, {}, &memory).ok());
  };
  EXPECT_EQ(lets_in(kAnna, kOlga), std::pair(true, true));
  EXPECT_EQ(lets_in(kOlga, ""), std::pair(false, true));
  EXPECT_EQ(lets_in(kAnna, ""), std::pair(true, false));
  EXPECT_EQ(lets_in("", ""), std::pair(false, false));
}

TEST_F(GrpcAccessTest, HealthAsksForNoneAndReflectionIsAway) {
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckResponse health;
  EXPECT_TRUE(grpc::health::v1::Health::NewStub(channel_)->Check(&context, {}, &health).ok());
  EXPECT_EQ(Call("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", {}).error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

}  // namespace
}  // namespace ebb::server
