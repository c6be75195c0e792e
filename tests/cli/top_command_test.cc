// ebb top from the command line, against a server in this process.
#include <algorithm>
#include <set>
#include <sstream>

#include "base/clock_fake.h"
#include "cli/command.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/cli/dead_port.h"
#include "tests/cli/fake_server.h"
#include "tests/cli/top/fake_screen.h"

namespace ebb::cli {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class TopCommandTest : public ::testing::Test {
 protected:
  // Runs `ebb --address SERVER top words...`.
  ExitCode RunTop(std::vector<std::string> words) {
    words.insert(words.begin(), {"--address", address_, "top"});
    std::istringstream in;
    std::ostringstream out, err;
    Terminal terminal{&in, &out, &err, false, &interrupt_};
    terminal.columns = columns_;
    terminal.color = color_;
    if (has_screen_) {
      terminal.open_screen = [this] {
        return std::make_unique<FakeScreen>(std::deque<FakeScreen::Happening>(), &clock_, &shown_);
      };
    }
    const ExitCode code = cli::Run(words, &terminal);
    out_ = out.str();
    err_ = err.str();
    return code;
  }

  FakeServer server_;
  std::string address_ = server_.address();
  Interrupt interrupt_;
  base::FakeClock clock_;
  bool has_screen_ = false;
  bool color_ = false;
  int columns_ = 80;
  std::vector<std::string> shown_;
  std::string out_, err_;
};

TEST_F(TopCommandTest, WithoutATerminalOneFrameInPlainText) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"--interval-ms", "50"}, {"--once", "--interval-ms=50"}}) {
    has_screen_ = words.size() == 2 && words[0] == "--once";  // Which leaves the screen alone.
    color_ = true;
    ASSERT_EQ(RunTop(words), ExitCode::kOk) << err_;
    EXPECT_THAT(out_, StartsWith("fake  ready  "));
    EXPECT_THAT(out_, HasSubstr("  " + address_ +
                                "\n"
                                "requests  running        1  waiting        2  finished   0.0/s  "
                                "preempted      0\n"
                                "tokens    prefilled      -  generated      -\n"
                                "memory    held     6.0 MiB  needed   3.0 MiB  cached   0 bytes  "
                                "limit    1.0 GiB\n"
                                "pages     mapped         1  flips      2/min\n"));
    EXPECT_THAT(out_, Not(HasSubstr("\x1b")));
    EXPECT_THAT(out_, EndsWith("\nthis server does not tell its windows\n"));
    EXPECT_TRUE(shown_.empty());
  }
}

TEST_F(TopCommandTest, TheFrameIsAsWideAsTheTerminal) {
  columns_ = 40;
  ASSERT_EQ(RunTop({"--once", "--interval-ms", "50"}), ExitCode::kOk) << err_;
  EXPECT_THAT(out_, HasSubstr("\nrunning           1  waiting           2\n"));
}

TEST_F(TopCommandTest, OnAScreenUntilTheKeyQ) {
  has_screen_ = true;
  ASSERT_EQ(RunTop({}), ExitCode::kOk) << err_;
  ASSERT_EQ(shown_.size(), 1u);
  EXPECT_THAT(shown_[0], StartsWith("\x1b[1;1Hfake  ready"));
  EXPECT_EQ(out_, "");
  color_ = true;
  ASSERT_EQ(RunTop({}), ExitCode::kOk) << err_;
  EXPECT_THAT(shown_[1], StartsWith("\x1b[1;1H\x1b[1mfake\x1b[0m  \x1b[32mready\x1b[0m"));
}

TEST_F(TopCommandTest, JsonIsOneObjectForEachSample) {
  has_screen_ = true;  // Is left alone.
  ASSERT_EQ(RunTop({"--json", "--count", "3", "--interval-ms", "50"}), ExitCode::kOk) << err_;
  std::istringstream lines(out_);
  int count = 0;
  std::set<std::string> times;
  for (std::string line; std::getline(lines, line); ++count) {
    const nlohmann::json sample = nlohmann::json::parse(line);
    EXPECT_EQ(sample["server"]["waiting_requests"], 2);
    EXPECT_EQ(sample["rates"]["finished_per_second"].is_null(), count == 0);
    EXPECT_TRUE(sample["windows"].is_null());
    times.insert(sample["time"].get<std::string>());
  }
  EXPECT_EQ(count, 3);
  EXPECT_EQ(times.size(), 3u);
  ASSERT_EQ(RunTop({"--json", "--once"}), ExitCode::kOk) << err_;
  EXPECT_EQ(std::count(out_.begin(), out_.end(), '\n'), 1);
  EXPECT_TRUE(shown_.empty());
}

TEST_F(TopCommandTest, AServerThatWasNeverThereIsToldByTheExitCode) {
  const DeadPort port;
  address_ = port.address();
  has_screen_ = true;
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{}, {"--once"}, {"--json"}}) {
    EXPECT_EQ(RunTop(words), ExitCode::kUnreachable);
    EXPECT_THAT(err_, StartsWith("ebb: no server answers at " + address_));
    EXPECT_EQ(out_, "");
    EXPECT_TRUE(shown_.empty());
  }
}

TEST_F(TopCommandTest, MistakesOnTheCommandLine) {
  const struct {
    std::vector<std::string> words;
    const char* error;
  } cases[] = {
      {{"x"}, "unexpected word: x"},
      {{"--interval-ms", "49"}, "--interval-ms: must be 50 to 3600000; not 49"},
      {{"--interval-ms", "x"}, "--interval-ms: must be a whole number"},
      {{"--count", "3"}, "--count: needs --json"},
      {{"--json", "--count", "0"}, "--count: must be 1 to 1000000000; not 0"},
      {{"--json", "--once", "--count", "2"}, "--count: one is what --once means"},
  };
  for (const auto& bad : cases) {
    EXPECT_EQ(RunTop(bad.words), ExitCode::kUsage);
    EXPECT_THAT(err_, HasSubstr(bad.error));
  }
}

}  // namespace
}  // namespace ebb::cli
