#include "server/progress_monitor.h"

#include <thread>

#include "base/clock_fake.h"
#include "engine/engine_fake.h"
#include "gtest/gtest.h"
#include "tests/server/wait_until.h"

namespace ebb::server {
namespace {

class ProgressMonitorTest : public testing::Test {
 protected:
  HealthState Polled() {
    monitor_.Poll();
    return monitor_.Check().state;
  }

  base::FakeClock clock_;
  engine::FakeEngine engine_;
  ProgressMonitor monitor_{&engine_, &clock_, absl::Seconds(60)};
};

TEST_F(ProgressMonitorTest, StallsAndRecovers) {
  EXPECT_TRUE(monitor_.Check().ready());  // Before the first answer, too.
  EXPECT_EQ(Polled(), HealthState::kReady);
  engine_.SetLastStepAge(absl::Seconds(60));
  EXPECT_EQ(Polled(), HealthState::kReady);
  engine_.SetLastStepAge(absl::Seconds(61));
  EXPECT_EQ(monitor_.Check().state, HealthState::kReady);  // Nobody has asked yet.
  EXPECT_EQ(Polled(), HealthState::kStalled);
  EXPECT_NE(monitor_.Check().message.find("1m1s"), std::string::npos) << monitor_.Check().message;
  engine_.SetLastStepAge(absl::ZeroDuration());
  EXPECT_EQ(Polled(), HealthState::kReady);
}

// Not the engine's step, but the engine itself hangs.
TEST_F(ProgressMonitorTest, AnEngineThatDoesNotAnswerIsStalled) {
  engine_.HoldViews();
  std::thread asking([this] { monitor_.Poll(); });
  ASSERT_TRUE(tests::WaitUntil([this] { return engine_.IsAskedInVain(); }));
  clock_.Advance(absl::Seconds(60));
  EXPECT_EQ(monitor_.Check().state, HealthState::kReady);
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(monitor_.Check().state, HealthState::kStalled);
  engine_.LetViewsGo();
  asking.join();
  EXPECT_EQ(monitor_.Check().state, HealthState::kReady);
}

TEST_F(ProgressMonitorTest, AThresholdOfZeroIsNone) {
  ProgressMonitor never(&engine_, &clock_, absl::ZeroDuration());
  engine_.SetLastStepAge(absl::Hours(10000));
  never.Poll();
  EXPECT_TRUE(never.Check().ready());
}

TEST_F(ProgressMonitorTest, TheWorstStateIsTold) {
  monitor_.SetDraining();
  EXPECT_EQ(Polled(), HealthState::kDraining);
  engine_.SetLastStepAge(absl::Seconds(61));
  EXPECT_EQ(Polled(), HealthState::kStalled);
  EXPECT_TRUE(monitor_.draining());
  engine_.LoseDevice("gone");
  EXPECT_EQ(Polled(), HealthState::kDeviceLost);
  EXPECT_EQ(monitor_.Check().message, "the server lost its device and is ending; ask another one");
  engine_.SetLastStepAge(absl::ZeroDuration());
  EXPECT_EQ(Polled(), HealthState::kDeviceLost);
}

}  // namespace
}  // namespace ebb::server
