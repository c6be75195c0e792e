// How the binary starts and refuses to: arguments, settings, models, addresses, exit codes.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/e2e/client.h"
#include "tests/e2e/log_schema.h"
#include "tests/e2e/server_process.h"

namespace ebb::tests {
namespace {

using Arguments = std::vector<std::string>;

// A file of this test's own, gone with it.
class TempFile {
 public:
  TempFile(const std::string& name, const std::string& bytes)
      : path_(testing::TempDir() + "/" + std::to_string(getpid()) + "-" + name) {
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  ~TempFile() { std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

struct Ended {
  int code = 0;
  std::string output;
  std::string errors;
};
Ended RunToEnd(const Arguments& arguments) {
  ServerProcess server(arguments);
  const int code = server.Wait();
  return {code, server.output(), server.errors()};
}

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(StartupTest, HelpAndVersion) {
  const Ended help = RunToEnd({"--help"});
  EXPECT_EQ(help.code, 0);
  for (const char* flag : {"--config", "--model", "--listen", "--http-listen", "--set",
                           "--check-config", "--print-config", "--version", "exit codes"}) {
    EXPECT_TRUE(Contains(help.output, flag)) << flag;
  }
  const Ended version = RunToEnd({"--version"});
  EXPECT_EQ(version.code, 0);
  EXPECT_EQ(version.output.rfind("ebb_server ", 0), 0u);
}

TEST(StartupTest, WrongArgumentsEndWith64) {
  for (const Arguments& arguments :
       {Arguments{"--nothing"}, Arguments{"--config"}, Arguments{"--config", "configs/cpu.json"}}) {
    const Ended ended = RunToEnd(arguments);
    EXPECT_EQ(ended.code, 64) << ended.errors;
    EXPECT_FALSE(ended.errors.empty());
  }
}

TEST(StartupTest, ChecksAndPrintsTheConfig) {
  const Ended checked = RunToEnd({"--config", "configs/cpu.json", "--check-config"});
  EXPECT_EQ(checked.code, 0) << checked.errors;
  EXPECT_TRUE(checked.output.empty());
  const Ended printed = RunToEnd({"--config", "configs/cpu.json", "--print-config", "--set",
                                  "decode_window.steps=7", "--listen", "127.0.0.1:1"});
  EXPECT_EQ(printed.code, 0) << printed.errors;
  const auto json = nlohmann::json::parse(printed.output, nullptr, false, true);
  ASSERT_TRUE(json.is_object()) << printed.output;
  EXPECT_EQ(json["decode_window"]["steps"], 7);
  EXPECT_EQ(json["server"]["listen"], "127.0.0.1:1");
  // What it prints, it takes.
  const TempFile file("printed.json", printed.output);
  const Ended again = RunToEnd({"--config", file.path(), "--print-config"});
  EXPECT_EQ(again.output, printed.output);
}

TEST(StartupTest, WrongSettingsEndWith78AndNameTheKey) {
  const TempFile typo("typo.json", "{\n  \"memory\": {\n    \"limt_bytes\": 5\n  }\n}\n");
  const Ended unknown = RunToEnd({"--config", typo.path(), "--check-config"});
  EXPECT_EQ(unknown.code, 78);
  EXPECT_TRUE(Contains(unknown.errors, typo.path() + ":3")) << unknown.errors;
  EXPECT_TRUE(Contains(unknown.errors, "memory.limt_bytes")) << unknown.errors;
  const Ended set = RunToEnd({"--set", "decode_window.steps=zero", "--check-config"});
  EXPECT_EQ(set.code, 78);
  EXPECT_TRUE(Contains(set.errors, "decode_window.steps")) << set.errors;
  const Ended address = RunToEnd({"--listen", "example.com:1", "--check-config"});
  EXPECT_EQ(address.code, 78);
  EXPECT_TRUE(Contains(address.errors, "server.listen")) << address.errors;
  EXPECT_TRUE(Contains(address.errors, "example.com")) << address.errors;
  EXPECT_EQ(RunToEnd({"--config", "configs/none.json", "--check-config"}).code, 78);
}

// One structured line, the reason in words on standard error, and never a signal.
void ExpectRejected(const std::string& path) {
  ServerProcess server(
      {"--config", "configs/cpu.json", "--listen", "127.0.0.1:0", "--model", path});
  EXPECT_EQ(server.Wait(), 65) << path;
  EXPECT_EQ(server.Lines("model_rejected").size(), 1u) << server.output();
  EXPECT_TRUE(server.Lines("ready").empty());
  EXPECT_FALSE(server.Lines("model_rejected")[0].value("reason", "").empty());
  EXPECT_FALSE(server.errors().empty());
  ExpectLogFitsSchema(server);
}

TEST(StartupTest, ARefusedModelEndsWith65) {
  ExpectRejected("/nowhere/model.gguf");
  ExpectRejected("configs");
  ExpectRejected("/dev/zero");
  ExpectRejected(TempFile("empty.gguf", "").path());
  const TempFile text("text.gguf", "this is not a model at all, though it is long enough for one");
  ExpectRejected(text.path());
  ASSERT_FALSE(ModelPath().empty()) << "the model is missing: run ./run --setup";
  std::string head(1 << 20, '\0');
  std::ifstream(ModelPath(), std::ios::binary).read(head.data(), static_cast<int>(head.size()));
  const TempFile cut("cut.gguf", head);
  ExpectRejected(cut.path());
}

TEST(StartupTest, ABusyPortEndsWith69) {
  const auto server = ServerProcess::StartReady();
  ASSERT_NE(server, nullptr);
  ServerProcess second(
      {"--config", "configs/cpu.json", "--model", ModelPath(), "--listen", server->address()});
  EXPECT_EQ(second.Wait(), 69);
  EXPECT_TRUE(Contains(second.errors(), server->address())) << second.errors();
  EXPECT_TRUE(Contains(second.errors(), "--listen")) << second.errors();
  EXPECT_EQ(Client(server->address()).Health(), 1);  // SERVING: the first did not notice.
}

TEST(StartupTest, ALimitWithoutRoomEndsWith78) {
  ServerProcess server({"--config", "configs/cpu.json", "--model", ModelPath(), "--listen",
                        "127.0.0.1:0", "--set", "memory.limit_bytes=1048576"});
  EXPECT_EQ(server.Wait(), 78) << server.output();
  EXPECT_TRUE(Contains(server.errors(), "limit_bytes")) << server.errors();
}

TEST(StartupTest, TellsItsStatesAndHoldsNothingWhenReady) {
  const auto server = ServerProcess::StartReady();
  ASSERT_NE(server, nullptr);
  EXPECT_EQ(server->Lines("ready").size(), 1u);
  EXPECT_FALSE(server->Lines("loading").empty());
  ASSERT_EQ(server->Lines("config").size(), 1u);
  EXPECT_EQ(server->Lines("config")[0]["hash"], server->Lines("ready")[0]["config_hash"]);
  Client client(server->address());
  const v1::GetMemoryResponse memory = client.Memory();
  EXPECT_EQ(memory.pages_mapped(), 0);
  EXPECT_EQ(memory.needed_bytes(), 0);
  EXPECT_GT(memory.page_bytes(), 0);
  EXPECT_EQ(memory.limit_bytes(), int64_t{1} << 30);
  EXPECT_EQ(client.Info().config_hash(), server->Lines("ready")[0]["config_hash"]);
  server->Signal(SIGINT);
  EXPECT_EQ(server->Wait(), 0);
  EXPECT_EQ(server->Lines("draining").size(), 1u);
  EXPECT_EQ(server->Lines("stopped").size(), 1u);
  ExpectLogFitsSchema(*server);
}

}  // namespace
}  // namespace ebb::tests
