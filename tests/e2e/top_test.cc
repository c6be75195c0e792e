// ebb top, the real one, beside a real server under load.
#include <cstdio>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/client.h"
#include "tests/e2e/server_process.h"

namespace ebb::tests {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

// What `ebb --address ADDRESS top OPTIONS` writes; it must end well.
std::string RunTop(const std::string& address, const std::string& options) {
  const std::string command = "cli/ebb --address " + address + " top " + options;
  FILE* const pipe = popen(command.c_str(), "r");
  std::string out;
  char bytes[4096];
  for (size_t n = 0; (n = fread(bytes, 1, sizeof(bytes), pipe)) > 0;) out.append(bytes, n);
  EXPECT_EQ(pclose(pipe), 0) << command;
  return out;
}

std::vector<json> Samples(const std::string& address, int count) {
  std::istringstream lines(
      RunTop(address, "--json --interval-ms 50 --count " + std::to_string(count)));
  std::vector<json> samples;
  for (std::string line; std::getline(lines, line);) samples.push_back(json::parse(line));
  EXPECT_EQ(static_cast<int>(samples.size()), count);
  return samples;
}

TEST(TopTest, ShowsTheLoadAndItsWindows) {
  const auto server = ServerProcess::StartReady();
  ASSERT_NE(server, nullptr);
  const json idle = Samples(server->address(), 1)[0];
  EXPECT_EQ(idle["memory"]["held_bytes"], 0);
  EXPECT_EQ(idle["server"]["prefilled_tokens_total"], 0);
  EXPECT_EQ(idle["windows"], json::array());

  // A long answer, cancelled once it has been watched.
  Client client(server->address());
  std::string frame;
  std::vector<json> samples;
  client.Stream(Greedy("Once upon a time", 4000), [&](const Streamed& so_far) {
    if (so_far.token_ids.size() < 20) return true;
    samples = Samples(server->address(), 3);
    frame = RunTop(server->address(), "--once --interval-ms 50");
    return false;
  });
  ASSERT_EQ(samples.size(), 3u);
  const json& last = samples.back();
  EXPECT_EQ(last["server"]["running_requests"], 1);
  EXPECT_GT(last["memory"]["held_bytes"], 0);
  EXPECT_GE(last["server"]["completion_tokens_total"], 20);
  EXPECT_GT(last["rates"]["completion_tokens_per_second"], 0);
  std::set<std::string> queues;
  for (const json& window : last["windows"]) {
    queues.insert(window["queue"].get<std::string>());
    EXPECT_EQ(window["sequences"], 1);
    EXPECT_GT(window["demand_blocks"], 0);
    EXPECT_EQ(window["grant_blocks"], window["demand_blocks"]);
  }
  EXPECT_EQ(queues, (std::set<std::string>{"prefill", "decode"}));
  EXPECT_THAT(frame, HasSubstr("requests  running        1  waiting        0  finished"));
  EXPECT_THAT(frame, HasSubstr("\nprefill"));
  EXPECT_THAT(frame, HasSubstr("\ndecode"));

  // Every window of the log is counted, and each token.
  const json ended = server->WaitForEvent("request_finished");
  ASSERT_FALSE(ended.is_null());
  const json after = Samples(server->address(), 1)[0];
  EXPECT_EQ(after["server"]["prefilled_tokens_total"], ended["prompt_tokens"]);
  EXPECT_EQ(after["server"]["completion_tokens_total"], ended["completion_tokens"]);
  EXPECT_EQ(after["server"]["finished_total"], 1);
  std::set<int64_t> told[2], logged[2];
  for (const json& window : after["windows"]) {
    told[window["queue"] == "decode"].insert(window["number"].get<int64_t>());
  }
  for (const json& line : server->Lines("window")) {
    std::set<int64_t>& numbers = logged[line["queue"] == "decode"];
    numbers.insert(static_cast<int64_t>(numbers.size()) + 1);
  }
  EXPECT_EQ(*told[0].rbegin(), *logged[0].rbegin());
  EXPECT_EQ(*told[1].rbegin(), *logged[1].rbegin());
}

}  // namespace
}  // namespace ebb::tests
