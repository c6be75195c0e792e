#include "engine/window_history.h"

#include "gtest/gtest.h"

namespace ebb::engine {
namespace {

memory::WindowPlan PlanOf(memory::WindowQueue queue, int64_t sequences) {
  memory::WindowPlan plan;
  plan.queue = queue;
  plan.sequences = sequences;
  return plan;
}

TEST(WindowHistoryTest, KeepsTheLastOfEachQueue) {
  WindowHistory history;
  const absl::Time start = absl::UnixEpoch();
  EXPECT_TRUE(history.View(start).empty());
  const int64_t kept = WindowHistory::kWindowsMax;
  for (int64_t i = 0; i < kept + 5; ++i) {
    history.Add(PlanOf(memory::WindowQueue::kDecode, i), start + absl::Seconds(i));
  }
  // Many windows of the one queue drive none of the other out.
  history.Add(PlanOf(memory::WindowQueue::kPrefill, 77), start + absl::Seconds(1));
  const std::vector<WindowView> views = history.View(start + absl::Seconds(100));
  ASSERT_EQ(views.size(), WindowHistory::kWindowsMax + 1);
  EXPECT_EQ(views[0].plan.queue, memory::WindowQueue::kPrefill);
  EXPECT_EQ(views[0].number, 1);
  EXPECT_EQ(views[0].plan.sequences, 77);
  EXPECT_EQ(views[0].age, absl::Seconds(99));
  for (int64_t i = 0; i < kept; ++i) {
    const WindowView& view = views[static_cast<size_t>(i) + 1];
    EXPECT_EQ(view.plan.queue, memory::WindowQueue::kDecode);
    EXPECT_EQ(view.number, i + 6);
    EXPECT_EQ(view.plan.sequences, i + 5);
    EXPECT_EQ(view.age, absl::Seconds(100 - (i + 5)));
  }
}

}  // namespace
}  // namespace ebb::engine
