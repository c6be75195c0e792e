#include "cli/top/watch.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/top/fake_screen.h"
#include "tests/cli/top/samples.h"

namespace ebb::cli {
namespace {

using Event = Screen::Event;
using Happening = FakeScreen::Happening;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class WatchTest : public testing::Test {
 protected:
  Watch MakeWatch() {
    return Watch({"127.0.0.1:50051", absl::Seconds(2), false}, [this] {
      taken_.push_back(absl::ToDoubleSeconds(clock_.Now() - At(0)));
      clock_.Advance(call_time_);
      const double now = absl::ToDoubleSeconds(clock_.Now() - At(0));
      return silent_.count(static_cast<int>(taken_.size())) > 0 ? SilentSample(now)
                                                                : BusySample(now);
    });
  }
  Event Show(Watch* watch, std::deque<Happening> script) {
    FakeScreen screen(std::move(script), &clock_, &shown_);
    return ShowOnScreen(watch, &screen, clock_);
  }

  base::FakeClock clock_{At(0)};
  absl::Duration call_time_ = absl::ZeroDuration();
  std::set<int> silent_;  // Which samples, from 1, nobody answers.
  std::vector<double> taken_;
  std::vector<std::string> shown_;
};

TEST_F(WatchTest, AFrameForEachIntervalUntilSomebodyQuits) {
  Watch watch = MakeWatch();
  watch.Next();
  EXPECT_EQ(Show(&watch, {{Event::kTimeout}, {Event::kTimeout}}), Event::kQuit);
  EXPECT_THAT(taken_, ElementsAre(0, 2, 4));
  ASSERT_EQ(shown_.size(), 3u);
  EXPECT_THAT(shown_[0], HasSubstr("up 0 ms"));
  EXPECT_THAT(shown_[0], HasSubstr("finished       -"));
  EXPECT_THAT(shown_[2], HasSubstr("up 4.0 s"));
  EXPECT_THAT(shown_[2], HasSubstr("finished   2.0/s"));
}

TEST_F(WatchTest, ANewSizeIsDrawnAtOnceAndDelaysNoSample) {
  Watch watch = MakeWatch();
  watch.Next();
  EXPECT_EQ(Show(&watch, {{Event::kResized, absl::Seconds(0.5), {40, 6}},
                          {Event::kResized, absl::Seconds(0.5), {60, 3}},
                          {Event::kTimeout}}),
            Event::kQuit);
  EXPECT_THAT(taken_, ElementsAre(0, 2));
  ASSERT_EQ(shown_.size(), 4u);
  EXPECT_THAT(shown_[0], HasSubstr("\x1b[24;1H"));
  EXPECT_THAT(shown_[1], HasSubstr("\x1b[6;1H"));
  EXPECT_THAT(shown_[1], Not(HasSubstr("\x1b[7;1H")));
  EXPECT_THAT(shown_[2], Not(HasSubstr("\x1b[4;1H")));
}

TEST_F(WatchTest, InterruptedIsNotQuit) {
  Watch watch = MakeWatch();
  watch.Next();
  EXPECT_EQ(Show(&watch, {{Event::kInterrupted, absl::Seconds(1), {}}}), Event::kInterrupted);
  EXPECT_THAT(taken_, ElementsAre(0));
}

// No burst of samples makes up for what was missed.
TEST_F(WatchTest, ASlowServerDelaysTheSamples) {
  call_time_ = absl::Seconds(5);
  Watch watch = MakeWatch();
  watch.Next();
  Show(&watch, {{Event::kTimeout}, {Event::kTimeout}, {Event::kTimeout}});
  EXPECT_THAT(taken_, ElementsAre(0, 7, 12, 17));
}

TEST_F(WatchTest, AServerThatIsGoneIsAskedAgain) {
  silent_ = {2, 3};
  Watch watch = MakeWatch();
  watch.Next();
  Show(&watch, std::deque<Happening>(4, Happening{Event::kTimeout, {}, {}}));
  ASSERT_EQ(shown_.size(), 5u);
  EXPECT_THAT(shown_[1], HasSubstr("no answer for 2.0 s, trying again (no server answers at"));
  EXPECT_THAT(shown_[1], HasSubstr("tiny-model  silent"));
  EXPECT_THAT(shown_[2], HasSubstr("no answer for 4.0 s, trying again"));
  EXPECT_THAT(shown_[3], HasSubstr("tiny-model  ready"));
  EXPECT_THAT(shown_[3], Not(HasSubstr("no answer")));
  EXPECT_THAT(shown_[3], HasSubstr("finished       -"));
  EXPECT_THAT(shown_[4], HasSubstr("finished   2.0/s"));
}

TEST_F(WatchTest, JsonIsOfTheLastSample) {
  silent_ = {3};
  Watch watch = MakeWatch();
  watch.Next();
  EXPECT_TRUE(watch.Json()["rates"]["finished_per_second"].is_null());
  clock_.Advance(absl::Seconds(2));
  watch.Next();
  EXPECT_EQ(watch.Json()["rates"]["finished_per_second"], 2.0);
  clock_.Advance(absl::Seconds(2));
  watch.Next();
  EXPECT_EQ(watch.Json()["answered"], false);
}

}  // namespace
}  // namespace ebb::cli
