// The real ebb top on a terminal: what it writes there, its keys, signals and exit codes.
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include <string>

#include "absl/strings/match.h"
#include "base/check.h"
#include "gtest/gtest.h"
#include "tests/cli/fake_server.h"

namespace ebb::cli {
namespace {

constexpr absl::string_view kEnter = "\x1b[?1049h\x1b[?25l";
constexpr absl::string_view kLeave = "\x1b[?25h\x1b[?1049l";

// `ebb top` on a terminal of 80 columns and 24 rows.
class TopOnTty {
 public:
  TopOnTty(const std::string& address, const char* no_color) {
    winsize size = {};
    size.ws_col = 80;
    size.ws_row = 24;
    CHECK_EQ(openpty(&user_, &tty_, nullptr, nullptr, &size), 0);
    CHECK_EQ(tcgetattr(tty_, &before_), 0);
    pid_ = fork();
    CHECK_GE(pid_, 0);
    if (pid_ == 0) {
      CHECK_EQ(login_tty(tty_), 0);
      setenv("TERM", "xterm", 1);
      setenv("NO_COLOR", no_color, 1);
      // Only keys and new sizes lead to a second frame.
      execl("cli/ebb", "ebb", "--address", address.c_str(), "top", "--interval-ms", "3600000",
            nullptr);
      _exit(127);
    }
  }
  ~TopOnTty() {
    close(user_);
    close(tty_);
  }

  pid_t pid() const { return pid_; }
  void Type(char key) { CHECK_EQ(write(user_, &key, 1), 1); }
  void Resize(int columns, int rows) {
    winsize size = {};
    size.ws_col = static_cast<uint16_t>(columns);
    size.ws_row = static_cast<uint16_t>(rows);
    CHECK_EQ(ioctl(tty_, TIOCSWINSZ, &size), 0);
  }
  // All that was written until `text` came, which must come.
  std::string ReadUntil(absl::string_view text) {
    std::string seen;
    char bytes[4096];
    while (!absl::StrContains(seen, text)) {
      const ssize_t count = read(user_, bytes, sizeof(bytes));
      CHECK_GT(count, 0) << seen;
      seen.append(bytes, static_cast<size_t>(count));
    }
    return seen;
  }
  int Wait() {
    int status = 0;
    CHECK_EQ(waitpid(pid_, &status, 0), pid_);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  bool TerminalIsAsBefore() const {
    termios now;
    CHECK_EQ(tcgetattr(tty_, &now), 0);
    return now.c_lflag == before_.c_lflag && now.c_iflag == before_.c_iflag;
  }

 private:
  int user_ = -1;
  int tty_ = -1;
  pid_t pid_ = 0;
  termios before_;
};

TEST(TopBinaryTest, TheKeyQEndsItAndTheTerminalIsAsBefore) {
  FakeServer server;
  TopOnTty top(server.address(), "");
  const std::string frame = top.ReadUntil("does not tell its windows");
  EXPECT_TRUE(absl::StartsWith(frame, kEnter)) << frame;
  EXPECT_TRUE(absl::StrContains(frame, "\x1b[1;1H\x1b[1mfake\x1b[0m"));
  EXPECT_FALSE(top.TerminalIsAsBefore());
  top.Type('q');
  top.ReadUntil(kLeave);
  EXPECT_EQ(top.Wait(), 0);
  EXPECT_TRUE(top.TerminalIsAsBefore());
}

// However often it is pressed: a second signal would end the process before the terminal is given
// back, a second key does not.
TEST(TopBinaryTest, CtrlCGivesTheTerminalBack) {
  FakeServer server;
  TopOnTty top(server.address(), "");
  top.ReadUntil("does not tell its windows");
  for (int i = 0; i < 3; ++i) top.Type('\x03');
  top.ReadUntil(kLeave);
  EXPECT_EQ(top.Wait(), 130);
  EXPECT_TRUE(top.TerminalIsAsBefore());
}

TEST(TopBinaryTest, ASignalGivesTheTerminalBack) {
  FakeServer server;
  for (const int signal : {SIGINT, SIGTERM}) {
    TopOnTty top(server.address(), "");
    top.ReadUntil("does not tell its windows");
    ASSERT_EQ(kill(top.pid(), signal), 0);
    top.ReadUntil(kLeave);
    EXPECT_EQ(top.Wait(), 130);
    EXPECT_TRUE(top.TerminalIsAsBefore());
  }
}

TEST(TopBinaryTest, ANewSizeIsDrawnAtOnceAndWithoutColorsIfNobodyWantsThem) {
  FakeServer server;
  TopOnTty top(server.address(), "1");
  EXPECT_FALSE(absl::StrContains(top.ReadUntil("does not tell its windows"), "\x1b[1m"));
  top.Resize(40, 12);
  const std::string frame = top.ReadUntil("does not tell its windows");
  EXPECT_TRUE(absl::StrContains(frame, "\x1b[2;1Hrunning           1  waiting           2"));
  EXPECT_FALSE(absl::StrContains(frame, kLeave));
  top.Type('q');
  EXPECT_EQ(top.Wait(), 0);
}

TEST(TopBinaryTest, SigintEndsJson) {
  FakeServer server;
  const std::string address = server.address();
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(ends[1], STDOUT_FILENO);
    execl("cli/ebb", "ebb", "--address", address.c_str(), "top", "--json", "--interval-ms",
          "3600000", nullptr);
    _exit(127);
  }
  close(ends[1]);
  char bytes[64];
  EXPECT_GT(read(ends[0], bytes, sizeof(bytes)), 0);  // The first sample comes at once.
  ASSERT_EQ(kill(pid, SIGINT), 0);
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
  close(ends[0]);
}

}  // namespace
}  // namespace ebb::cli
