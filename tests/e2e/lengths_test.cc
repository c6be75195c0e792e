// What is learned of the lengths of answers outlives the process, and a file that cannot be used
// keeps nobody from being served.
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/e2e/client.h"
#include "tests/e2e/log_schema.h"
#include "tests/e2e/server_process.h"
#include "tests/server/http/http_client.h"

namespace ebb::tests {
namespace {

class LengthsTest : public testing::Test {
 protected:
  LengthsTest() {
    char name[] = "/tmp/ebb-lengths-XXXXXX";
    EXPECT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    path_ = directory_ + "/lengths";
  }
  ~LengthsTest() override { std::filesystem::remove_all(directory_); }

  std::unique_ptr<ServerProcess> Start(const std::string& more = "log.stats_ms=0") {
    return ServerProcess::StartReady({"scheduler.lengths_file=" + path_, more});
  }
  std::string Bytes() const {
    std::ifstream file(path_, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  // Answers that end by themselves, after a few words.
  static void Ask(const ServerProcess& server, int count) {
    Client client(server.address());
    for (int i = 0; i < count; ++i) {
      v1::GenerateRequest request = Greedy("The three primary colours are", 64);
      request.mutable_stopping()->add_stop(",");
      v1::GenerateResponse response;
      ASSERT_TRUE(client.Generate(request, &response).ok());
      ASSERT_LT(response.token_ids().size(), 64);
    }
  }
  // How many answers were predicted by that level.
  static int CountOf(const ServerProcess& server, const std::string& level) {
    const std::string text = HttpClient(server.http_address()).Get("/metrics").body;
    const std::string name = "ebb_length_rank_count{level=\"" + level + "\"} ";
    const size_t at = text.find(name);
    EXPECT_NE(at, std::string::npos) << name;
    return at == std::string::npos ? -1 : std::atoi(text.c_str() + at + name.size());
  }

  std::string directory_;
  std::string path_;
};

TEST_F(LengthsTest, ARestartKnowsWhatWasLearned) {
  {
    const auto first = Start();
    ASSERT_NE(first, nullptr);
    EXPECT_EQ(first->WaitForEvent("lengths")["state"], "absent");
    Ask(*first, 6);
    EXPECT_GE(CountOf(*first, "prior"), 1) << "nothing was known at first";
    first->Signal(SIGTERM);
    EXPECT_EQ(first->Wait(), 0);
    EXPECT_TRUE(first->Lines("lengths_not_saved").empty());
    ExpectLogFitsSchema(*first);
  }
  const std::string saved = Bytes();
  {
    const auto second = Start();
    ASSERT_NE(second, nullptr);
    const nlohmann::json line = second->WaitForEvent("lengths");
    EXPECT_EQ(line["state"], "read");
    EXPECT_EQ(line["classes"], 1);
    EXPECT_NEAR(line["answers"].get<double>(), 6, 0.1);
    Ask(*second, 1);
    EXPECT_EQ(CountOf(*second, "class"), 1) << "its first prediction goes by the answers of before";
    EXPECT_EQ(CountOf(*second, "prior"), 0);
    ExpectLogFitsSchema(*second);
    second->Signal(SIGKILL);
    second->Wait();
  }
  EXPECT_EQ(Bytes(), saved) << "a process that is killed leaves what there was";
}

TEST_F(LengthsTest, AnotherModelsFileIsLeftAside) {
  {
    const auto first = Start("model.name=one");
    ASSERT_NE(first, nullptr);
    Ask(*first, 1);
    first->Signal(SIGTERM);
    EXPECT_EQ(first->Wait(), 0);
  }
  const auto second = Start("model.name=other");
  ASSERT_NE(second, nullptr);
  const nlohmann::json line = second->WaitForEvent("lengths");
  EXPECT_EQ(line["state"], "refused");
  EXPECT_NE(line["message"].get<std::string>().find("of another model, \"one, llama"),
            std::string::npos)
      << line;
  Ask(*second, 1);
  ExpectLogFitsSchema(*second);
}

TEST_F(LengthsTest, APathThatIsNoFileKeepsNobodyFromBeingServed) {
  std::filesystem::create_directory(path_);
  const auto server = Start();
  ASSERT_NE(server, nullptr);
  EXPECT_EQ(server->WaitForEvent("lengths")["state"], "refused");
  Ask(*server, 1);
  server->Signal(SIGTERM);
  EXPECT_EQ(server->Wait(), 0);
  EXPECT_EQ(server->Lines("lengths_not_saved").size(), 1u);
  ExpectLogFitsSchema(*server);
}

}  // namespace
}  // namespace ebb::tests
