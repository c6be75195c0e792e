// Screen: a terminal that is ours alone for a while, behind an interface: tests have a fake.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "cli/top/styled_line.h"

namespace ebb::cli {

struct ScreenSize {
  int columns = 80;
  int rows = 24;
};

// Used by one thread.
class Screen {
 public:
  enum class Event {
    kTimeout,
    kResized,
    kQuit,         // The key q, or nobody types any more.
    kInterrupted,  // Ctrl-C or a signal.
  };

  virtual ~Screen() = default;
  virtual ScreenSize size() const = 0;
  // Puts these bytes to the terminal at once.
  virtual void Show(absl::string_view bytes) = 0;
  // What happens first. A key that waits already counts even when `timeout` is not above 0.
  virtual Event WaitFor(absl::Duration timeout) = 0;
};

// What draws the lines from the top left of a screen of this size, over what was there, without
// clearing it first. REQUIRES: they fit.
std::string FrameBytes(const std::vector<StyledLine>& lines, ScreenSize size, bool color);

}  // namespace ebb::cli
