#include "cli/top/window_table.h"

#include <limits>

#include "gtest/gtest.h"
#include "tests/cli/top/samples.h"

namespace ebb::cli {
namespace {

std::string Table(const v1::GetWindowsResponse& windows, int width, int lines_max) {
  const std::vector<StyledLine> lines = DrawWindowTable(windows, width, lines_max);
  EXPECT_LE(static_cast<int>(lines.size()), lines_max);
  for (const StyledLine& line : lines) EXPECT_LE(line.columns(), width);
  return TextOf(lines);
}

TEST(WindowTableTest, NewestFirstAndAShareForEachQueue) {
  const v1::GetWindowsResponse windows = *BusySample(1).windows;
  EXPECT_EQ(Table(windows, 80, 7),
            "window   number     age  length  steps  seqs  demand  grant  pages  reason\n"
            "prefill       9   2.8 s  315 ms     16     9     100    100      9  steady\n"
            "prefill       8   3.0 s  280 ms     16     8      89     89   8→10  grow\n"
            "decode       17  750 ms  595 ms     16    17     188    188     17  steady\n"
            "decode       16   1.0 s  560 ms     16    16     177    160     16  limit\n"
            "decode       15   1.2 s  525 ms     16    15     166    166     15  steady\n"
            "decode       14   1.5 s  490 ms     16    14     155    155     14  steady\n");
  EXPECT_EQ(Table(windows, 80, 20),
            "window   number     age  length  steps  seqs  demand  grant  pages  reason\n"
            "prefill       9   2.8 s  315 ms     16     9     100    100      9  steady\n"
            "prefill       8   3.0 s  280 ms     16     8      89     89   8→10  grow\n"
            "decode       17  750 ms  595 ms     16    17     188    188     17  steady\n"
            "decode       16   1.0 s  560 ms     16    16     177    160     16  limit\n"
            "decode       15   1.2 s  525 ms     16    15     166    166     15  steady\n"
            "decode       14   1.5 s  490 ms     16    14     155    155     14  steady\n"
            "decode       13   1.8 s  455 ms     16    13     144    144     13  steady\n"
            "decode       12   2.0 s  420 ms     16    12     133    133     12  steady\n");
  EXPECT_EQ(Table(windows, 40, 4),
            "window  seqs demand grant pages reason\n"
            "prefill    9    100   100     9 steady\n"
            "prefill    8     89    89  8→10 grow\n"
            "decode    17    188   188    17 steady\n");
}

TEST(WindowTableTest, SmallRooms) {
  const v1::GetWindowsResponse windows = *BusySample(1).windows;
  EXPECT_EQ(Table(windows, 80, 0), "");
  EXPECT_EQ(Table(windows, 7, 1), "window\n");
  EXPECT_EQ(Table(windows, 7, 2), "window\nprefill\n");
}

TEST(WindowTableTest, AbsentAndUnknownFields) {
  v1::GetWindowsResponse windows;
  windows.add_windows();
  v1::Window* odd = windows.add_windows();
  odd->set_queue(static_cast<v1::Window::Queue>(99));
  odd->set_reason(static_cast<v1::Window::Reason>(-5));
  odd->set_age_seconds(std::numeric_limits<double>::quiet_NaN());
  odd->set_demand_blocks(std::numeric_limits<int64_t>::max());
  odd->set_grant_blocks(std::numeric_limits<int64_t>::min());
  EXPECT_EQ(Table(windows, 80, 5),
            "window   number     age  length  steps  seqs  demand  grant  pages  reason\n"
            "?             -       -       -      -     -       -      -      -  ?\n"
            "?             -       -       -      -     -    9.2E  -9.2E      -  ?\n");
}

}  // namespace
}  // namespace ebb::cli
