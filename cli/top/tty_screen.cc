#include "cli/top/tty_screen.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace ebb::cli {
namespace {

constexpr absl::string_view kEnter = "\x1b[?1049h\x1b[?25l\x1b[2J";  // Second page, no cursor.
constexpr absl::string_view kLeave = "\x1b[0m\x1b[?25h\x1b[?1049l";
constexpr char kCtrlC = '\x03';

void WriteAll(int fd, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // The terminal is gone, which reading will show.
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

class TtyScreen final : public Screen {
 public:
  TtyScreen(int in, int out, const termios& before, const Interrupt* interrupt)
      : in_(in), out_(out), before_(before), interrupt_(interrupt) {
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG | IEXTEN);
    raw.c_iflag &= ~static_cast<tcflag_t>(IXON);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    tcsetattr(in_, TCSADRAIN, &raw);
    WriteAll(out_, kEnter);
    seen_ = size();
  }
  ~TtyScreen() override {
    WriteAll(out_, kLeave);
    tcsetattr(in_, TCSAFLUSH, &before_);
  }
  TtyScreen(const TtyScreen&) = delete;
  TtyScreen& operator=(const TtyScreen&) = delete;

  ScreenSize size() const override { return SizeOfTty(out_).value_or(ScreenSize()); }

  void Show(absl::string_view bytes) override { WriteAll(out_, bytes); }

  // In short pieces: a new size and an interrupt are looked for, so that no signal is needed.
  Event WaitFor(absl::Duration timeout) override {
    constexpr absl::Duration kPiece = absl::Milliseconds(50);
    for (absl::Duration left = timeout;; left -= kPiece) {
      if (interrupt_->triggered()) return Event::kInterrupted;
      if (Resized()) return Event::kResized;
      const absl::Duration piece = std::clamp(left, absl::ZeroDuration(), kPiece);
      pollfd typed = {in_, POLLIN, 0};
      if (poll(&typed, 1, static_cast<int>(absl::ToInt64Milliseconds(piece))) > 0) {
        const Event event = ReadKeys();
        if (event != Event::kTimeout) return event;
      }
      if (left <= kPiece) return Event::kTimeout;
    }
  }

 private:
  bool Resized() {
    const ScreenSize now = size();
    const bool resized = now.columns != seen_.columns || now.rows != seen_.rows;
    seen_ = now;
    return resized;
  }

  // kTimeout: none that means anything.
  Event ReadKeys() {
    char keys[64];
    const ssize_t count = read(in_, keys, sizeof(keys));
    if (count < 0 && errno == EINTR) return Event::kTimeout;
    if (count <= 0) return Event::kQuit;
    for (const char key : absl::string_view(keys, static_cast<size_t>(count))) {
      if (key == kCtrlC) return Event::kInterrupted;
      if (key == 'q' || key == 'Q') return Event::kQuit;
    }
    return Event::kTimeout;
  }

  const int in_;
  const int out_;
  const termios before_;
  const Interrupt* const interrupt_;
  ScreenSize seen_;
};

}  // namespace

std::unique_ptr<Screen> OpenTtyScreen(int in, int out, const Interrupt* interrupt) {
  termios before;
  if (isatty(out) != 1 || tcgetattr(in, &before) != 0) return nullptr;
  return std::make_unique<TtyScreen>(in, out, before, interrupt);
}

std::optional<ScreenSize> SizeOfTty(int out) {
  winsize size = {};
  if (ioctl(out, TIOCGWINSZ, &size) != 0) return std::nullopt;
  if (size.ws_col == 0 || size.ws_row == 0) return ScreenSize();
  return ScreenSize{size.ws_col, size.ws_row};
}

}  // namespace ebb::cli
