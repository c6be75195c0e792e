#include "cli/top/watch.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "cli/top/sample_json.h"

namespace ebb::cli {
namespace {

// Rates are means over so long: single requests make no waves.
constexpr absl::Duration kRateSpan = absl::Seconds(5);

}  // namespace

Watch::Watch(WatchOptions options, std::function<Sample()> take_sample)
    : options_(std::move(options)), take_sample_(std::move(take_sample)) {}

const Sample& Watch::Next() {
  last_ = take_sample_();
  history_.Add(*last_);
  if (last_->answered()) answered_ = last_;
  return *last_;
}

std::vector<StyledLine> Watch::Frame(int width, int height) const {
  CHECK(answered_.has_value());
  FrameInput input;
  input.address = options_.address;
  input.sample = *answered_;
  input.rates = history_.RatesOver(kRateSpan);
  if (!last_->answered()) {
    input.silent_for = last_->time - answered_->time;
    input.error = last_->error;
  }
  input.interval = options_.interval;
  input.history = &history_;
  input.color = options_.color;
  return DrawFrame(input, width, height);
}

nlohmann::ordered_json Watch::Json() const {
  CHECK(last_.has_value());
  return SampleJson(*last_, history_.RatesOver(kRateSpan));
}

Screen::Event ShowOnScreen(Watch* watch, Screen* screen, const base::Clock& clock) {
  for (absl::Time next = clock.Now();;) {
    // A slow server delays the samples, and nobody makes up for them.
    next = std::max(next + watch->options().interval, clock.Now());
    for (auto event = Screen::Event::kResized; event != Screen::Event::kTimeout;) {
      const ScreenSize size = screen->size();
      screen->Show(FrameBytes(watch->Frame(size.columns, size.rows), size, watch->options().color));
      event = screen->WaitFor(next - clock.Now());
      if (event == Screen::Event::kQuit || event == Screen::Event::kInterrupted) return event;
    }
    watch->Next();
  }
}

}  // namespace ebb::cli
