#include "cli/top/screen.h"

#include "gtest/gtest.h"

namespace ebb::cli {
namespace {

// A line that fills the width is not followed by an erasure, which would take its last character.
TEST(ScreenTest, AFrameCoversWhatWasThere) {
  StyledLine full("ab", Style::kBad);
  full.Append("░");
  StyledLine padded("a");
  padded.PadTo(3);
  const std::vector<StyledLine> lines = {full, padded, StyledLine("a")};
  EXPECT_EQ(FrameBytes(lines, {3, 4}, /*color=*/false),
            "\x1b[1;1Hab░\x1b[2;1Ha\x1b[K\x1b[3;1Ha\x1b[K\x1b[4;1H\x1b[K");
  EXPECT_EQ(FrameBytes(lines, {3, 4}, /*color=*/true),
            "\x1b[1;1H\x1b[1;31mab\x1b[0m░\x1b[2;1Ha  \x1b[3;1Ha\x1b[K\x1b[4;1H\x1b[K");
}

}  // namespace
}  // namespace ebb::cli
