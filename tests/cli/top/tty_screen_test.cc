// The screen on a terminal of our own.
#include "cli/top/tty_screen.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "gtest/gtest.h"

namespace ebb::cli {
namespace {

using Event = Screen::Event;

class TtyScreenTest : public testing::Test {
 protected:
  TtyScreenTest() : user_(posix_openpt(O_RDWR | O_NOCTTY)) {
    CHECK(user_ >= 0 && grantpt(user_) == 0 && unlockpt(user_) == 0);
    tty_ = open(ptsname(user_), O_RDWR | O_NOCTTY);
    CHECK_GE(tty_, 0);
    Resize(80, 24);
  }
  ~TtyScreenTest() override {
    close(tty_);
    if (user_ >= 0) close(user_);
  }

  void Resize(int columns, int rows) {
    winsize size = {};
    size.ws_col = static_cast<uint16_t>(columns);
    size.ws_row = static_cast<uint16_t>(rows);
    CHECK_EQ(ioctl(tty_, TIOCSWINSZ, &size), 0);
  }
  void Type(absl::string_view keys) {
    CHECK_EQ(write(user_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }
  // What the terminal was told, so far.
  std::string Told() {
    char bytes[4096];
    const ssize_t count = read(user_, bytes, sizeof(bytes));
    return std::string(bytes, static_cast<size_t>(std::max<ssize_t>(0, count)));
  }
  termios Settings() const {
    termios settings = {};
    CHECK_EQ(tcgetattr(tty_, &settings), 0);
    return settings;
  }

  int user_;  // Where the user sits.
  int tty_;
  Interrupt interrupt_;
};

TEST_F(TtyScreenTest, TakesTheTerminalAndGivesItBack) {
  const termios before = Settings();
  auto screen = OpenTtyScreen(tty_, tty_, &interrupt_);
  ASSERT_NE(screen, nullptr);
  EXPECT_EQ(Told(), "\x1b[?1049h\x1b[?25l\x1b[2J");
  EXPECT_EQ(Settings().c_lflag & (ICANON | ECHO | ISIG), 0u);
  screen->Show("frame");
  EXPECT_EQ(Told(), "frame");
  screen.reset();
  EXPECT_EQ(Told(), "\x1b[0m\x1b[?25h\x1b[?1049l");
  const termios after = Settings();
  EXPECT_EQ(after.c_lflag, before.c_lflag);
  EXPECT_EQ(after.c_iflag, before.c_iflag);
  EXPECT_EQ(std::memcmp(after.c_cc, before.c_cc, sizeof(after.c_cc)), 0);
}

TEST_F(TtyScreenTest, Keys) {
  const auto screen = OpenTtyScreen(tty_, tty_, &interrupt_);
  EXPECT_EQ(screen->WaitFor(absl::ZeroDuration()), Event::kTimeout);
  Type("q");
  EXPECT_EQ(screen->WaitFor(absl::ZeroDuration()), Event::kQuit);
  Type("x\x1b[AQ");
  EXPECT_EQ(screen->WaitFor(absl::Minutes(1)), Event::kQuit);
  Type("\x03");
  EXPECT_EQ(screen->WaitFor(absl::Minutes(1)), Event::kInterrupted);
  // Others mean nothing, and Ctrl-Z does not stop the process in the middle of a frame.
  Type("x\x1a\x13\x1b[B");
  EXPECT_EQ(screen->WaitFor(absl::Milliseconds(1)), Event::kTimeout);
}

TEST_F(TtyScreenTest, ANewSizeIsToldOnce) {
  const auto screen = OpenTtyScreen(tty_, tty_, &interrupt_);
  EXPECT_EQ(screen->size().columns, 80);
  Resize(40, 20);
  EXPECT_EQ(screen->WaitFor(absl::Minutes(1)), Event::kResized);
  EXPECT_EQ(screen->size().columns, 40);
  EXPECT_EQ(screen->size().rows, 20);
  EXPECT_EQ(screen->WaitFor(absl::ZeroDuration()), Event::kTimeout);
}

TEST_F(TtyScreenTest, ASignalEndsTheWait) {
  const auto screen = OpenTtyScreen(tty_, tty_, &interrupt_);
  interrupt_.Trigger();
  EXPECT_EQ(screen->WaitFor(absl::Minutes(1)), Event::kInterrupted);
}

TEST_F(TtyScreenTest, AUserWhoHasGoneQuits) {
  const auto screen = OpenTtyScreen(tty_, tty_, &interrupt_);
  close(std::exchange(user_, -1));
  EXPECT_EQ(screen->WaitFor(absl::Minutes(1)), Event::kQuit);
  screen->Show("nobody sees it");
}

TEST_F(TtyScreenTest, OnlyATerminalIsOne) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  EXPECT_EQ(OpenTtyScreen(ends[0], tty_, &interrupt_), nullptr);
  EXPECT_EQ(OpenTtyScreen(tty_, ends[1], &interrupt_), nullptr);
  EXPECT_FALSE(SizeOfTty(ends[1]).has_value());
  close(ends[0]);
  close(ends[1]);
  // One that does not know its size.
  Resize(0, 0);
  EXPECT_EQ(SizeOfTty(tty_)->columns, 80);
}

}  // namespace
}  // namespace ebb::cli
