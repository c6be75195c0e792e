// Watch: takes samples of a server and makes of them what is shown.
//
//   take_sample ──> Watch ──> history, rates ──> Frame (lines), Json
//
// Not thread-safe.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/clock.h"
#include "cli/top/frame.h"
#include "cli/top/sample.h"
#include "cli/top/sample_history.h"
#include "cli/top/screen.h"
#include "nlohmann/json.hpp"

namespace ebb::cli {

struct WatchOptions {
  std::string address;
  absl::Duration interval;
  bool color = false;
};

class Watch {
 public:
  Watch(WatchOptions options, std::function<Sample()> take_sample);

  // The next sample, taken now.
  const Sample& Next();

  // REQUIRES: one sample was answered.
  std::vector<StyledLine> Frame(int width, int height) const;
  // Of the last sample. REQUIRES: there is one.
  nlohmann::ordered_json Json() const;

  const WatchOptions& options() const { return options_; }

 private:
  const WatchOptions options_;
  const std::function<Sample()> take_sample_;
  SampleHistory history_;
  std::optional<Sample> last_;
  std::optional<Sample> answered_;  // The last that was.
};

// A frame for each interval and each new size, until somebody quits or interrupts; says which.
// REQUIRES: the watch has an answered sample.
Screen::Event ShowOnScreen(Watch* watch, Screen* screen, const base::Clock& clock);

}  // namespace ebb::cli
