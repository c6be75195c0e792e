// ebb plot from the command line: it asks no server.
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "cli/command.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ebb::cli {
namespace {

using ::testing::HasSubstr;

constexpr char kLog[] =
    R"({"time":"2026-11-23T06:00:00.000Z","event":"config","settings":{}}
{"time":"2026-11-23T06:00:01.000Z","event":"window","held_bytes":2097152,"needed_bytes":1048576,"limit_bytes":4194304,"preemptions_total":0}
{"time":"2026-11-23T06:00:03.000Z","event":"window","held_bytes":3145728,"needed_bytes":1048576,"limit_bytes":4194304,"preemptions_total":1}
{"time":"2026-11-23T06:00:05.000Z","event":"memory_idle","held_bytes":0,"needed_bytes":0,"limit_bytes":4194304,"preemptions_total":1}
)";

class PlotCommandTest : public ::testing::Test {
 protected:
  ExitCode RunEbb(const std::vector<std::string>& words, const std::string& input = "") {
    std::istringstream in(input);
    std::ostringstream out, err;
    Interrupt interrupt;
    Terminal terminal{&in, &out, &err, false, &interrupt};
    const ExitCode code = cli::Run(words, &terminal);
    out_ = out.str();
    err_ = err.str();
    return code;
  }
  static std::string Path(const std::string& name) {
    return std::string(std::getenv("TEST_TMPDIR")) + "/" + name;
  }
  static std::string ReadFile(const std::string& path) {
    std::ifstream file(path);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }

  std::string out_, err_;
};

TEST_F(PlotCommandTest, DrawsAFileAndSumsUp) {
  std::ofstream(Path("server.log")) << kLog;
  ASSERT_EQ(RunEbb({"plot", Path("server.log"), "-o", Path("a.svg")}), ExitCode::kOk) << err_;
  EXPECT_EQ(out_,
            Path("a.svg") +
                ": 2 windows over 4.0 s, peak held 3.0 MiB, held/needed 2.50, preemptions 1\n");
  EXPECT_EQ(err_, "");
  EXPECT_THAT(ReadFile(Path("a.svg")), HasSubstr("KV memory held and needed</text>"));
}

TEST_F(PlotCommandTest, DrawsStandardInputAsAPage) {
  ASSERT_EQ(RunEbb({"plot", "-", "--output=" + Path("a.html"), "--title", "<Mine>"}, kLog),
            ExitCode::kOk)
      << err_;
  EXPECT_THAT(ReadFile(Path("a.html")), HasSubstr("<title>&lt;Mine&gt;</title>"));
}

TEST_F(PlotCommandTest, SaysWhatItPassedOver) {
  const std::string log = std::string(kLog) + "Killed\n" + std::string(100000, 'x') + "\n" +
                          R"({"time":"2026-11-23T05:00:00Z","event":"config"})" + "\n{\"time";
  ASSERT_EQ(RunEbb({"plot", "-", "-o", Path("b.svg")}, log), ExitCode::kOk);
  EXPECT_EQ(err_,
            "ebb plot: standard input: passed over 3 lines (2 not of a server's log or cut short, "
            "1 longer than 65536 bytes)\n"
            "ebb plot: standard input: time stepped back 1 time; what follows is drawn right after "
            "what was before\n");
}

TEST_F(PlotCommandTest, RefusesWhatItCannotDraw) {
  const struct {
    std::vector<std::string> words;
    const char* error;
  } cases[] = {
      {{"plot"}, "give one LOG"},
      {{"plot", "-", "-"}, "give one LOG"},
      {{"plot", "-"}, "--output: give a FILE that ends in .svg or .html"},
      {{"plot", "-", "-o", "a.png"}, "--output: give a FILE that ends in .svg or .html"},
      {{"plot", "-", "-o"}, "--output: a value is missing"},
      {{"plot", "-", "-o", "a.svg", "--title", "\xff"}, "--title: byte 0 (0xff) is not UTF-8"},
      {{"plot", "no/such/log", "-o", "a.svg"}, "no/such/log: cannot be opened: No such file"},
      {{"plot", "-", "-o", "a.svg"}, "standard input: no line tells of memory"},
  };
  for (const auto& bad : cases) {
    EXPECT_EQ(RunEbb(bad.words), ExitCode::kUsage);
    EXPECT_THAT(err_, HasSubstr(bad.error));
  }
  EXPECT_EQ(RunEbb({"plot", "/", "-o", Path("c.svg")}), ExitCode::kUsage);
  EXPECT_EQ(RunEbb({"plot", "-", "-o", "no/such/directory/a.svg"}, kLog), ExitCode::kUsage);
  EXPECT_THAT(err_, HasSubstr("no/such/directory/a.svg: cannot be written: No such file"));
  EXPECT_EQ(RunEbb({"plot", "-", "-o", "/dev/full/a.svg"}, kLog), ExitCode::kUsage);
}

}  // namespace
}  // namespace ebb::cli
