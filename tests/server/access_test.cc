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

void WriteTokens(const std::string& path, const std::string& text, mode_t mode = 0600) {
  // A new file in the old one's place, as whoever rotates tokens does.
  const std::string next = path + ".next";
  std::ofstream(next) << text;
  ASSERT_EQ(chmod(next.c_str(), mode), 0);
  ASSERT_EQ(std::rename(next.c_str(), path.c_str()), 0);
}

std::string TokensPath(const std::string& name) { return testing::TempDir() + "/" + name; }

TEST(ParseTokensTest, ReadsNamesAndComments) {
  const auto tokens =
      ParseTokens(std::string("# who\n\nanna ") + kAnna + "\r\n\tbert  " + kBert, "f");
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
    const auto tokens = ParseTokens(text, "f");
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
  EXPECT_FALSE(ParseTokens(many, "f").ok());
}

class AccessGateTest : public testing::Test {
 protected:
  AccessGateTest() { WriteTokens(path_, std::string("anna ") + kAnna); }
  absl::StatusOr<std::unique_ptr<AccessGate>> Open() {
    return AccessGate::Open(path_, &clock_, &log_);
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
  EXPECT_FALSE(AccessGate::Open("/nowhere/tokens", &clock_, &log_).ok());
  EXPECT_FALSE(AccessGate::Open("/dev/null", &clock_, &log_).ok());
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

struct GateOfAnna {
  GateOfAnna() {
    const std::string path = TokensPath("grpc_tokens");
    WriteTokens(path, std::string("anna ") + kAnna);
    gate = *AccessGate::Open(path, &gate_clock, &gate_log);
  }
  base::RealClock gate_clock;
  KeepLog gate_log;
  std::unique_ptr<AccessGate> gate;
};

class GrpcAccessTest : private GateOfAnna, public GatewayTest {
 protected:
  GrpcAccessTest() : GatewayTest(gate.get()) {}

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
  EXPECT_TRUE(Call("/ebb.v1.Control/GetMemory", {std::string("Bearer ") + kAnna}).ok());
}

TEST_F(GrpcAccessTest, TheCommandLinesConnectionSendsItsToken) {
  const std::string address = server_->address().ToString();
  for (const std::string& token : {std::string(kAnna), std::string()}) {
    cli::Credentials credentials;
    credentials.token = token;
    const cli::Connection connection(address, credentials);
    grpc::ClientContext context;
    v1::GetMemoryResponse memory;
    EXPECT_EQ(connection.control()->GetMemory(&context, {}, &memory).ok(), !token.empty());
  }
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
