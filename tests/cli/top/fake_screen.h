// FakeScreen: keeps what is shown; a script says what happens to it, and time is the test's.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "base/clock_fake.h"
#include "cli/top/screen.h"

namespace ebb::cli {

class FakeScreen final : public Screen {
 public:
  struct Happening {
    Event event = Event::kTimeout;
    absl::Duration after = absl::ZeroDuration();  // Not for kTimeout: that comes when it is due.
    ScreenSize size = {};                         // From then on.
  };

  // Once the script is at its end, somebody presses q. `clock` and `shown` outlive it.
  FakeScreen(std::deque<Happening> script, base::FakeClock* clock, std::vector<std::string>* shown)
      : script_(std::move(script)), clock_(clock), shown_(shown) {}

  ScreenSize size() const override { return size_; }
  void Show(absl::string_view bytes) override { shown_->emplace_back(bytes); }
  Event WaitFor(absl::Duration timeout) override {
    if (script_.empty()) return Event::kQuit;
    const Happening next = script_.front();
    script_.pop_front();
    clock_->Advance(next.event == Event::kTimeout ? std::max(timeout, absl::ZeroDuration())
                                                  : next.after);
    if (next.event == Event::kResized) size_ = next.size;
    return next.event;
  }

 private:
  std::deque<Happening> script_;
  base::FakeClock* const clock_;
  std::vector<std::string>* const shown_;
  ScreenSize size_;
};

}  // namespace ebb::cli
